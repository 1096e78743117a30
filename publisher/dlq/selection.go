package dlq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// Selection is the dead letters that a filter meant at one moment. What is stored later does not belong to it.
type Selection struct {
	queue  *Queue
	filter Filter
	// tokens and sequences are the names of the filter.
	tokens    map[string]bool
	sequences []uint64
	// last is the newest sequence, from and to are times that dead letters were stored between, or zero.
	last     uint64
	from, to time.Time
}

// Select begins a selection. It reads nothing yet but the stream's end and its clock.
func (d *Queue) Select(ctx context.Context, f Filter) (*Selection, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	var state broker.StreamState
	err := d.persist(ctx, func(ctx context.Context) (err error) {
		state, err = d.broker.Stream(ctx, schema.StreamOutcomes)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("selecting dead letters: %w", err)
	}
	s := &Selection{queue: d, filter: f, tokens: map[string]bool{}, last: state.Last}
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
		s.from = state.Now.Add(-f.NewerThan)
	}
	if f.OlderThan > 0 {
		s.to = state.Now.Add(-f.OlderThan)
	}
	return s, nil
}

// Each calls do for each dead letter, in the order in which they were stored (those that were named by their sequence
// first), and ends with its error.
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
	return s.read(ctx, func(l DeadLetter) error {
		named := len(s.tokens) == 0 || s.tokens[l.Identifier] && !slices.Contains(s.sequences, l.Sequence)
		if !named || !s.fits(l) {
			return nil
		}
		return do(l)
	})
}

// fits tells whether a dead letter has the reason, type and age that are meant.
func (s *Selection) fits(l DeadLetter) bool {
	return (len(s.filter.Reasons) == 0 || slices.Contains(s.filter.Reasons, l.Reason)) &&
		(len(s.filter.Types) == 0 || l.Problem == nil && slices.Contains(s.filter.Types, l.Type)) &&
		(s.from.IsZero() || !l.Stored.Before(s.from)) && (s.to.IsZero() || l.Stored.Before(s.to))
}

// scanAgainAfter is how long a reader waits before it goes on where a scan has failed.
const scanAgainAfter = 100 * time.Millisecond

// errPast ends a scan behind the end of a selection.
var errPast = errors.New("past the selection")

// read calls do for all that the broker's filters let through, up to the end of the selection.
func (s *Selection) read(ctx context.Context, do func(DeadLetter) error) error {
	r := broker.Range{Subjects: s.filter.subjects(s.tokens), Since: s.from}
	for since := time.Now(); ; {
		var ended error // by do
		progress := false
		err := s.queue.broker.Scan(ctx, schema.StreamOutcomes, r, func(m broker.Message) error {
			if m.Sequence > s.last {
				return errPast
			}
			progress, r.From, r.Since = true, m.Sequence+1, time.Time{}
			ended = do(newDeadLetter(m))
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
		case !again(err), time.Since(since) > s.queue.patience:
			return fmt.Errorf("reading dead letters: %w", err)
		}
		if err := pause(ctx, scanAgainAfter); err != nil {
			return err
		}
	}
}
