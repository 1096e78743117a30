package dlq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"statusworker/schema/broker"
)

// Selection is the dead letters that matched a filter when the selection was made, without later ones.
type Selection struct {
	queue  *Queue
	filter Filter
	// tokens and sequences are the names of the filter.
	tokens    map[string]bool
	sequences []uint64
	// detail is the text of the filter in lower case.
	detail string
	// first and last are the lowest and the highest sequence. From and to limit when dead letters were stored, or are
	// zero.
	first    uint64
	last     uint64
	now      time.Time
	from, to time.Time
}

// Moment returns when the selection was made.
func (s *Selection) Moment() Moment { return Moment{Last: s.last, Now: s.now} }

// Select makes a selection. It reads only the last sequence and the clock of the stream. The error is a [*FilterError],
// or one of the broker.
func (d *Queue) Select(ctx context.Context, f Filter) (*Selection, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	var state broker.StreamState
	err := d.retry(ctx, func(ctx context.Context) (err error) {
		state, err = d.broker.Stream(ctx, d.names.StreamOutcomes())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("selecting dead letters: %w", err)
	}
	s := &Selection{
		queue: d, filter: f, tokens: map[string]bool{}, detail: strings.ToLower(f.Detail), first: state.First,
		last: state.Last, now: state.Now,
	}
	if f.AsOf != (Moment{}) {
		s.last, s.now = min(s.last, f.AsOf.Last), f.AsOf.Now
	}
	named := map[uint64]bool{}
	for _, name := range f.Names {
		sequence, err := sequenceOf(name)
		switch {
		case err != nil:
			return nil, err
		case sequence > 0:
			named[sequence] = true
		default:
			s.tokens[name] = true
		}
	}
	s.sequences = slices.Sorted(maps.Keys(named))
	if f.NewerThan > 0 {
		s.from = s.now.Add(-f.NewerThan)
	}
	if f.OlderThan > 0 {
		s.to = s.now.Add(-f.OlderThan)
	}
	return s, nil
}

// Each calls do for each dead letter, in the order in which they were stored; those with a sequence in the filter come
// first. It ends with the first error of do.
func (s *Selection) Each(ctx context.Context, do func(DeadLetter) error) error {
	for _, sequence := range s.sequences {
		l, err := s.queue.get(ctx, sequence)
		if err != nil {
			return err
		}
		if l == nil || sequence > s.last || !s.fits(*l) {
			continue
		}
		if err := do(*l); err != nil {
			return err
		}
	}
	if len(s.filter.Names) > 0 && len(s.tokens) == 0 {
		return nil
	}
	r := broker.Range{Subjects: s.filter.subjects(s.queue.names, s.tokens), Since: s.from}
	return s.read(ctx, r, s.last, func(l DeadLetter) error {
		named := len(s.tokens) == 0 || s.tokens[l.Identifier] && !slices.Contains(s.sequences, l.Sequence)
		if !named || !s.fits(l) {
			return nil
		}
		return do(l)
	})
}

// fits reports whether a dead letter matches the reasons, types, ages and text of the filter.
func (s *Selection) fits(l DeadLetter) bool {
	return (len(s.filter.Reasons) == 0 || slices.Contains(s.filter.Reasons, l.Reason)) &&
		(len(s.filter.Types) == 0 || l.Problem == nil && slices.Contains(s.filter.Types, l.Type)) &&
		(s.from.IsZero() || !l.Stored.Before(s.from)) && (s.to.IsZero() || l.Stored.Before(s.to)) &&
		(s.detail == "" || strings.Contains(strings.ToLower(l.Why()), s.detail))
}

// scanRetryAfter is the pause before a failed scan is continued.
const scanRetryAfter = 100 * time.Millisecond

// errPast ends a scan after the last message of a selection.
var errPast = errors.New("past the selection")

// read calls do for all messages of a range up to the sequence last.
func (s *Selection) read(ctx context.Context, r broker.Range, last uint64, do func(DeadLetter) error) error {
	for since := time.Now(); ; {
		var ended error // the error of do
		progress := false
		err := s.queue.broker.Scan(ctx, s.queue.names.StreamOutcomes(), r, func(m broker.Message) error {
			if m.Sequence > last {
				return errPast
			}
			progress, r.From, r.Since = true, m.Sequence+1, time.Time{}
			ended = do(s.queue.newDeadLetter(m))
			return ended
		})
		switch {
		case ended != nil:
			return ended
		case err == nil, errors.Is(err, errPast):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case progress:
			since = time.Now()
		case !retryable(err), time.Since(since) > s.queue.retryFor:
			return fmt.Errorf("reading dead letters: %w", err)
		}
		if err := pause(ctx, scanRetryAfter); err != nil {
			return err
		}
	}
}
