package dlq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
	"statusworker/schema"
	"statusworker/schema/topology"
)

const (
	// answerWithin is how long one request waits for the broker.
	answerWithin = 5 * time.Second
	// patience is how long a broker may not answer before the rest is given up.
	patience = 30 * time.Second
)

// Queue works on the dead letters of one broker. It is safe for concurrent use.
type Queue struct {
	js       jetstream.JetStream
	outcomes jetstream.Stream
	// declared is nil for who only reads and deletes, polls where interactions are held back by naks.
	declared, polls jetstream.Stream

	// Tests make these shorter.
	patience, endingFor, lookEvery time.Duration
}

// MissingStreamError says that the broker has no such stream.
type MissingStreamError struct{ Stream string }

func (e *MissingStreamError) Error() string {
	return fmt.Sprintf("the broker has no stream %s: run `statusworker provision` once, with the rights to create streams", e.Stream)
}

// New finds the stream of outcomes, for reading and deleting.
func New(ctx context.Context, js jetstream.JetStream) (*Queue, error) {
	d := &Queue{js: permission.Wrap(js, permission.Guarded(js.Conn())), patience: patience, endingFor: endingFor, lookEvery: lookEvery}
	var err error
	d.outcomes, err = open(ctx, d.js, schema.StreamOutcomes)
	return d, err
}

// NewForReplay finds also the streams that interactions wait in.
func NewForReplay(ctx context.Context, js jetstream.JetStream) (*Queue, error) {
	d, err := New(ctx, js)
	if err != nil {
		return nil, err
	}
	if d.declared, err = open(ctx, d.js, schema.StreamDeclared); err != nil {
		return nil, err
	}
	d.polls, err = open(ctx, d.js, schema.StreamPolls)
	var missing *MissingStreamError
	if errors.As(err, &missing) {
		d.polls, err = nil, nil
	}
	return d, err
}

func open(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, &MissingStreamError{name}
	case err != nil:
		return nil, fmt.Errorf("reading stream %s: %w", name, err)
	case stream.CachedInfo().Config.AllowDirect:
		return nil, fmt.Errorf("stream %s allows direct gets, which need not know the latest: `statusworker provision --update` fixes it", name)
	}
	return stream, nil
}

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
	var info *jetstream.StreamInfo
	err := d.persist(ctx, func(ctx context.Context) (err error) {
		info, err = d.outcomes.Info(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", schema.StreamOutcomes, err)
	}
	s := &Selection{queue: d, filter: f, tokens: map[string]bool{}, last: info.State.LastSeq}
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
		s.from = info.TimeStamp.Add(-f.NewerThan)
	}
	if f.OlderThan > 0 {
		s.to = info.TimeStamp.Add(-f.OlderThan)
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
		if len(s.tokens) > 0 && (!s.tokens[l.Identifier] || slices.Contains(s.sequences, l.Sequence)) || !s.fits(l) {
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

const (
	// readAhead bounds what the broker sends before it was asked for: with the largest dead letters some 20 MB.
	readAhead = 100
	// silence is how long the broker may send nothing before it is asked what is left.
	silence = 2 * time.Second
)

// read calls do for all that the broker's filters let through, up to the end of the selection.
func (s *Selection) read(ctx context.Context, do func(DeadLetter) error) error {
	next := uint64(1)
	var stop error // do's
	attempt := func(ctx context.Context) (progress bool, err error) {
		cfg := jetstream.OrderedConsumerConfig{
			FilterSubjects: s.filter.subjects(s.tokens), DeliverPolicy: jetstream.DeliverAllPolicy,
			MaxResetAttempts: 1, InactiveThreshold: time.Minute,
		}
		switch {
		case next > 1:
			cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, next
		case !s.from.IsZero():
			cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &s.from
		}
		bounded, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		consumer, err := s.queue.js.OrderedConsumer(bounded, schema.StreamOutcomes, cfg)
		if err != nil {
			return false, err
		}
		if info := consumer.CachedInfo(); info == nil || info.NumPending == 0 {
			return true, nil
		}
		messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
		if err != nil {
			return false, err
		}
		defer messages.Stop()
		for {
			if ctx.Err() != nil {
				return progress, ctx.Err()
			}
			msg, err := messages.Next(jetstream.NextMaxWait(silence))
			if err != nil {
				return progress, err
			}
			meta, err := msg.Metadata()
			if err != nil {
				return progress, err
			}
			if meta.Sequence.Stream > s.last {
				return true, nil
			}
			progress, next = true, meta.Sequence.Stream+1
			if stop = do(newDeadLetter(msg.Subject(), meta.Sequence.Stream, meta.Timestamp, msg.Data())); stop != nil || meta.NumPending == 0 {
				return true, nil
			}
		}
	}
	for since := time.Now(); ; {
		var progress bool
		err := permission.Guard(ctx, s.queue.js.Conn(), func(ctx context.Context) (err error) {
			progress, err = attempt(ctx)
			return err
		}, ownConsumers...)
		switch {
		case stop != nil:
			return stop
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if errors.Is(err, nats.ErrPermissionViolation) {
			return withoutRight(err)
		}
		if progress {
			since = time.Now()
		} else if !again(err) || time.Since(since) > s.queue.patience {
			return fmt.Errorf("reading dead letters from %s: %w", schema.StreamOutcomes, err)
		}
		// What was read is not read again, and what was deleted meanwhile is not waited for: a new consumer knows.
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ownConsumers are the subjects on which the consumers that read the dead letters are created and pulled from.
var ownConsumers = []string{
	jetstream.DefaultAPIPrefix + "CONSUMER.CREATE." + schema.StreamOutcomes + ".>", jetstream.DefaultAPIPrefix + "CONSUMER.INFO." + schema.StreamOutcomes + ".*",
	jetstream.DefaultAPIPrefix + "CONSUMER.MSG.NEXT." + schema.StreamOutcomes + ".*",
}

// again tells whether the same request may succeed in a moment: where the broker is unsettled, or has lost the consumer that
// this reading had made for itself.
func again(err error) bool {
	return topology.Unsettled(err) || errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) ||
		errors.Is(err, jetstream.ErrOrderedConsumerReset) || errors.Is(err, jetstream.ErrMsgIteratorClosed)
}

// get reads the dead letter with that sequence; nil where there is none.
func (d *Queue) get(ctx context.Context, sequence uint64) (*DeadLetter, error) {
	m, err := d.message(ctx, d.outcomes, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return d.outcomes.GetMsg(ctx, sequence)
	})
	if err != nil || m == nil || !schema.IsFailedSubject(m.Subject) {
		return nil, err
	}
	l := newDeadLetter(m.Subject, m.Sequence, m.Time, m.Data)
	return &l, nil
}

// message reads a message from a stream's leader, patiently; nil where there is none.
func (d *Queue) message(ctx context.Context, from jetstream.Stream, get func(context.Context) (*jetstream.RawStreamMsg, error)) (m *jetstream.RawStreamMsg, err error) {
	err = d.persist(ctx, func(ctx context.Context) (err error) {
		m, err = get(ctx)
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading from %s: %w", from.CachedInfo().Config.Name, err)
	}
	return m, nil
}

// last reads the last message on a subject, which may have wildcards.
func (d *Queue) last(ctx context.Context, from jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	return d.message(ctx, from, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return from.GetLastMsgForSubject(ctx, subject)
	})
}

// persist calls do until it has the broker's answer, which may be an error; not for longer than the patience.
func (d *Queue) persist(ctx context.Context, do func(context.Context) error) error {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	began := time.Now()
	var last error
	err := backoff.Retry(func() error {
		bounded, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		last = do(bounded)
		switch {
		case last == nil:
			return nil
		case ctx.Err() != nil:
			return backoff.Permanent(ctx.Err())
		case errors.Is(last, nats.ErrPermissionViolation):
			return backoff.Permanent(withoutRight(last))
		case !again(last):
			return backoff.Permanent(last)
		case time.Since(began) > d.patience:
			return backoff.Permanent(fmt.Errorf("the broker does not answer for %s: %w", d.patience, last))
		}
		return last
	}, backoff.WithContext(policy, ctx))
	if ctx.Err() != nil && err != nil {
		return ctx.Err()
	}
	return err
}

func withoutRight(denied error) error {
	return fmt.Errorf("%w; docs/contract.md lists the permissions", denied)
}

// delete deletes one dead letter. It tells whether it was there.
func (d *Queue) delete(ctx context.Context, sequence uint64) (bool, error) {
	err := d.persist(ctx, func(ctx context.Context) error { return d.outcomes.DeleteMsg(ctx, sequence) })
	if err == nil {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	// The broker has one error for a message that is not there, and for one that it cannot delete.
	if l, readErr := d.get(ctx, sequence); readErr == nil && l == nil {
		return false, nil
	}
	return false, fmt.Errorf("deleting %d from %s: %w", sequence, schema.StreamOutcomes, err)
}
