package dlq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"statusworker/schema"
	"statusworker/schema/broker"
)

const (
	// answerWithin is how long one request waits for the broker.
	answerWithin = 5 * time.Second
	// patience is how long a broker may not answer before the rest is given up.
	patience = 30 * time.Second
)

// Broker is what the dead-letter queue needs of the broker: see [broker.Broker].
type Broker interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	Last(ctx context.Context, stream, subjects string) (broker.Message, error)
	Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error)
	Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error)
	Scan(ctx context.Context, stream string, r broker.Range, do func(broker.Message) error) error
	Delete(ctx context.Context, stream string, sequence uint64) error
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
}

// Queue works on the dead letters of one broker. It is safe for concurrent use.
type Queue struct {
	broker Broker
	// polls tells whether there is a stream of reservations. Delayed naks need none.
	polls bool

	// Tests make these shorter.
	patience, endingFor, lookEvery time.Duration
}

// MissingStreamError says that the broker has no such stream.
type MissingStreamError struct{ Stream string }

func (e *MissingStreamError) Error() string { return "the broker has no stream " + e.Stream }

// DirectGetsError says that any replica of a stream answers reads. It need not know the latest, on which a replay
// depends.
type DirectGetsError struct{ Stream string }

func (e *DirectGetsError) Error() string {
	return fmt.Sprintf("stream %s allows direct gets, which may miss its latest messages", e.Stream)
}

// New finds the stream of outcomes, for reading and deleting.
func New(ctx context.Context, b Broker) (*Queue, error) {
	d := &Queue{broker: b, patience: patience, endingFor: endingFor, lookEvery: lookEvery}
	return d, d.check(ctx, schema.StreamOutcomes)
}

// NewForReplay finds also the streams that interactions wait in.
func NewForReplay(ctx context.Context, b Broker) (*Queue, error) {
	d, err := New(ctx, b)
	if err != nil {
		return nil, err
	}
	if err := d.check(ctx, schema.StreamDeclared); err != nil {
		return nil, err
	}
	err = d.check(ctx, schema.StreamPolls)
	if missing := (*MissingStreamError)(nil); errors.As(err, &missing) {
		return d, nil
	}
	d.polls = err == nil
	return d, err
}

// check refuses a stream that is not there, or whose reads may be stale.
func (d *Queue) check(ctx context.Context, stream string) error {
	state, err := d.broker.Stream(ctx, stream)
	switch {
	case errors.Is(err, broker.ErrStreamNotFound):
		return &MissingStreamError{stream}
	case err != nil:
		return fmt.Errorf("checking the streams: %w", err)
	case state.DirectGets:
		return &DirectGetsError{stream}
	}
	return nil
}

// get reads the dead letter with that sequence; nil where there is none.
func (d *Queue) get(ctx context.Context, sequence uint64) (*DeadLetter, error) {
	m, err := d.message(ctx, func(ctx context.Context) (broker.Message, error) {
		return d.broker.Get(ctx, schema.StreamOutcomes, sequence)
	})
	if err != nil || m == nil || !schema.IsFailedSubject(m.Subject) {
		return nil, err
	}
	l := newDeadLetter(*m)
	return &l, nil
}

// message reads a message, patiently; nil where there is none.
func (d *Queue) message(
	ctx context.Context, read func(context.Context) (broker.Message, error),
) (*broker.Message, error) {
	var m broker.Message
	err := d.persist(ctx, func(ctx context.Context) (err error) {
		m, err = read(ctx)
		return err
	})
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading what is stored: %w", err)
	}
	return &m, nil
}

// last reads the last message on a subject, which may have wildcards.
func (d *Queue) last(ctx context.Context, stream, subject string) (*broker.Message, error) {
	return d.message(ctx, func(ctx context.Context) (broker.Message, error) {
		return d.broker.Last(ctx, stream, subject)
	})
}

// delete deletes one dead letter. It tells whether it was there.
func (d *Queue) delete(ctx context.Context, sequence uint64) (bool, error) {
	err := d.persist(ctx, func(ctx context.Context) error {
		return d.broker.Delete(ctx, schema.StreamOutcomes, sequence)
	})
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return false, nil
	case err != nil && ctx.Err() == nil:
		return false, fmt.Errorf("deleting dead letter %d: %w", sequence, err)
	}
	return err == nil, err
}

// persist calls do until it has the broker's answer, which may be an error; not for longer than the patience.
func (d *Queue) persist(ctx context.Context, do func(context.Context) error) error {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	began := time.Now()
	err := backoff.Retry(func() error {
		bounded, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		err := do(bounded)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return backoff.Permanent(ctx.Err())
		case !again(err):
			return backoff.Permanent(err)
		case time.Since(began) > d.patience:
			return backoff.Permanent(fmt.Errorf("the broker does not answer for %s: %w", d.patience, err))
		}
		return err
	}, backoff.WithContext(policy, ctx))
	if ctx.Err() != nil && err != nil {
		return ctx.Err()
	}
	return err
}

// again tells whether the same request may succeed in a moment: the broker does not answer, or has no room.
func again(err error) bool {
	return errors.Is(err, broker.ErrNoAnswer) || errors.Is(err, broker.ErrFull)
}

// pause waits for a time.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
