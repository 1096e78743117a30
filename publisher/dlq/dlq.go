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
	// requestTimeout is the timeout of one request to the broker.
	requestTimeout = 5 * time.Second
	// retryFor is how long a request is retried while the broker does not answer.
	retryFor = 30 * time.Second
)

// Broker is the operations of [broker.Broker] that the dead-letter queue uses.
type Broker interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	Last(ctx context.Context, stream, subjects string) (broker.Message, error)
	Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error)
	Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error)
	Scan(ctx context.Context, stream string, r broker.Range, do func(broker.Message) error) error
	Count(ctx context.Context, stream string, r broker.Range) (uint64, error)
	Delete(ctx context.Context, stream string, sequence uint64) error
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
}

// Queue is the dead-letter queue of one namespace. It is safe for concurrent use.
type Queue struct {
	broker Broker
	names  schema.Namespace
	// polls reports whether a stream of reservations exists. Delayed naks do not need it.
	polls bool

	// Tests use shorter times.
	retryFor, endingFor, retryEvery time.Duration
}

// MissingStreamError is the error of a stream that does not exist.
type MissingStreamError struct{ Stream string }

func (e *MissingStreamError) Error() string { return "the broker has no stream " + e.Stream }

// DirectGetsError is the error of a stream that allows direct gets: any replica answers reads, which may miss the
// latest messages. A replay depends on them.
type DirectGetsError struct{ Stream string }

func (e *DirectGetsError) Error() string {
	return fmt.Sprintf("stream %s allows direct gets, which may miss its latest messages", e.Stream)
}

// New returns a queue for reading dead letters. It checks the outcomes stream.
func New(ctx context.Context, b Broker, n schema.Namespace) (*Queue, error) {
	d := &Queue{broker: b, names: n, retryFor: retryFor, endingFor: endingFor, retryEvery: retryEvery}
	return d, d.check(ctx, d.names.StreamOutcomes())
}

// NewForDeletion returns a queue that can also replay and purge dead letters. It also checks the streams in which
// interactions wait.
func NewForDeletion(ctx context.Context, b Broker, n schema.Namespace) (*Queue, error) {
	d, err := New(ctx, b, n)
	if err != nil {
		return nil, err
	}
	if err := d.check(ctx, d.names.StreamDeclared()); err != nil {
		return nil, err
	}
	err = d.check(ctx, d.names.StreamPolls())
	if missing := (*MissingStreamError)(nil); errors.As(err, &missing) {
		return d, nil
	}
	d.polls = err == nil
	return d, err
}

// check returns an error if a stream does not exist or its reads may be stale.
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

// get returns the dead letter with the sequence, or nil.
func (d *Queue) get(ctx context.Context, sequence uint64) (*DeadLetter, error) {
	m, err := d.message(ctx, func(ctx context.Context) (broker.Message, error) {
		return d.broker.Get(ctx, d.names.StreamOutcomes(), sequence)
	})
	if err != nil || m == nil || !d.names.IsFailedSubject(m.Subject) {
		return nil, err
	}
	l := d.newDeadLetter(*m)
	return &l, nil
}

// message returns a message, or nil. It retries the read.
func (d *Queue) message(
	ctx context.Context, read func(context.Context) (broker.Message, error),
) (*broker.Message, error) {
	var m broker.Message
	err := d.retry(ctx, func(ctx context.Context) (err error) {
		m, err = read(ctx)
		return err
	})
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading a stored message: %w", err)
	}
	return &m, nil
}

// last returns the last message on a subject, which may have wildcards, or nil.
func (d *Queue) last(ctx context.Context, stream, subject string) (*broker.Message, error) {
	return d.message(ctx, func(ctx context.Context) (broker.Message, error) {
		return d.broker.Last(ctx, stream, subject)
	})
}

// delete deletes one dead letter. It reports whether the dead letter existed.
func (d *Queue) delete(ctx context.Context, sequence uint64) (bool, error) {
	err := d.retry(ctx, func(ctx context.Context) error {
		return d.broker.Delete(ctx, d.names.StreamOutcomes(), sequence)
	})
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return false, nil
	case err != nil && ctx.Err() == nil:
		return false, fmt.Errorf("deleting dead letter %d: %w", sequence, err)
	}
	return err == nil, err
}

// retry calls do until the broker answers, which may be with an error, but at most for d.retryFor.
func (d *Queue) retry(ctx context.Context, do func(context.Context) error) error {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	began := time.Now()
	err := backoff.Retry(func() error {
		bounded, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		err := do(bounded)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return backoff.Permanent(ctx.Err())
		case !retryable(err):
			return backoff.Permanent(err)
		case time.Since(began) > d.retryFor:
			return backoff.Permanent(fmt.Errorf("the broker has not answered for %s: %w", d.retryFor, err))
		}
		return err
	}, backoff.WithContext(policy, ctx))
	if ctx.Err() != nil && err != nil {
		return ctx.Err()
	}
	return err
}

// retryable reports whether the same request may succeed later: the broker did not answer, or its storage is full.
func retryable(err error) bool {
	return errors.Is(err, broker.ErrNoAnswer) || errors.Is(err, broker.ErrFull)
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
