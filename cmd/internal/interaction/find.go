package interaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// Broker is the operations of [broker.Broker] that a [Finder] uses.
type Broker interface {
	Last(ctx context.Context, stream, subjects string) (broker.Message, error)
	Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error)
	Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error)
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
	Consumer(ctx context.Context, stream, consumer string) (broker.ConsumerState, error)
}

const (
	// atOnce is how many interactions are read concurrently.
	atOnce = 8
	// readAgain is how often an interaction is read again that is not found: it may have been declared again, or
	// replayed, between the reads.
	readAgain = 2
)

// MissingStreamError is the error of a stream that does not exist.
type MissingStreamError struct{ Stream string }

func (e *MissingStreamError) Error() string { return "the broker has no stream " + e.Stream }

// Finder finds interactions of one namespace. It is safe for concurrent use.
type Finder struct {
	broker  Broker
	names   schema.Namespace
	workers func(context.Context) ([]overview.Worker, error)
	// reservations reports whether a stream of reservations exists.
	reservations bool
}

// Connect returns a finder over an existing connection. It sends requests; the error is a [*MissingStreamError], or
// that of the broker.
func Connect(ctx context.Context, js jetstream.JetStream, n schema.Namespace) (*Finder, error) {
	return New(ctx, adapter.New(js), n, func(ctx context.Context) ([]overview.Worker, error) {
		return overview.Workers(ctx, js, n)
	})
}

// New returns a finder. workers reads the workers that are alive.
func New(
	ctx context.Context, b Broker, n schema.Namespace, workers func(context.Context) ([]overview.Worker, error),
) (*Finder, error) {
	f := &Finder{broker: b, names: n, workers: workers}
	for _, stream := range []string{f.names.StreamDeclared(), f.names.StreamOutcomes()} {
		_, err := b.Stream(ctx, stream)
		if errors.Is(err, broker.ErrStreamNotFound) {
			return nil, &MissingStreamError{stream}
		}
		if err != nil {
			return nil, fmt.Errorf("checking the streams: %w", err)
		}
	}
	_, err := b.Stream(ctx, f.names.StreamPolls())
	if err != nil && !errors.Is(err, broker.ErrStreamNotFound) {
		return nil, fmt.Errorf("checking the streams: %w", err)
	}
	f.reservations = err == nil
	return f, nil
}

// Look returns the interactions with identifiers, in this order. Each identifier must be a valid one, in lower case.
func (f *Finder) Look(ctx context.Context, identifiers []string) ([]Interaction, error) {
	found := make([]Interaction, len(identifiers))
	reading, readCtx := errgroup.WithContext(ctx)
	reading.SetLimit(atOnce)
	for n, identifier := range identifiers {
		reading.Go(func() (err error) {
			found[n], err = f.find(readCtx, identifier)
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	// The time is read after the messages, so that no message seems to be stored later.
	state, err := f.broker.Stream(ctx, f.names.StreamDeclared())
	if err != nil {
		return nil, fmt.Errorf("reading the broker's clock: %w", err)
	}
	var workers *Workers
	lanes := map[Lane]*time.Time{}
	for n := range found {
		if found[n].ConsumerPausedUntil, err = f.pausedUntil(ctx, lanes, found[n]); err != nil {
			return nil, err
		}
		if workers == nil && found[n].waitsForWorker() {
			if workers, err = f.alive(ctx); err != nil {
				return nil, err
			}
		}
		found[n].judge(state.Now.UTC(), workers)
	}
	return found, nil
}

// waitsForWorker reports whether a worker has to receive the interaction's message.
func (i Interaction) waitsForWorker() bool {
	return i.State == lifecycle.StateDeclared || i.State == lifecycle.StateDue
}

// judge sets what depends on the time and on the workers that are alive.
func (i *Interaction) judge(now time.Time, workers *Workers) {
	i.At = now
	if i.waitsForWorker() {
		i.Workers = workers
	}
	if i.ConsumerPausedUntil != nil && !i.ConsumerPausedUntil.After(now) {
		i.ConsumerPausedUntil = nil
	}
	switch {
	case i.Problem != "":
	case i.NextPollAt != nil && i.NextPollAt.Before(now.Add(-redelivery.OverdueAfter)):
		i.Problem = Overdue
	case i.Workers != nil && i.Workers.Alive == 0:
		i.Problem = NoWorkers
	case i.ConsumerPausedUntil != nil && (i.NextPollAt == nil || i.ConsumerPausedUntil.After(*i.NextPollAt)):
		i.Problem = ConsumerPaused
	case i.Workers == nil:
	case i.State == lifecycle.StateDue && i.Workers.Paused == i.Workers.Alive:
		i.Problem = Paused
	}
}

// find finds one interaction.
func (f *Finder) find(ctx context.Context, identifier string) (i Interaction, err error) {
	for range 1 + readAgain {
		s, err := f.read(ctx, identifier)
		if err != nil {
			return i, err
		}
		if i = f.describe(identifier, s, s.Where()); i.State != lifecycle.StateUnknown {
			break
		}
	}
	return i, nil
}

// describe returns an interaction by its messages, without what depends on the time and the workers.
func (f *Finder) describe(identifier string, s stored, p lifecycle.Place) Interaction {
	i := Interaction{
		Namespace: f.names, State: p.State, Identifier: identifier, DeclaredAt: timeOf(p.Generation), Polls: p.Polls,
		Redelivery: string(consumer.Nak), History: []schema.StatusChange{}, Outcomes: []Outcome{},
	}
	if f.reservations {
		i.Redelivery = string(consumer.Schedule)
	}
	for _, o := range s.Outcomes {
		i.Outcomes = append(i.Outcomes, outcome(p, o, s.events[o.Sequence]))
	}
	switch {
	case p.By != nil:
		m := s.polls[p.By.Sequence]
		i.Since, i.Type = timeOf(p.By.Stored), f.typeOf(m.Subject)
		i.History = append(i.History, schema.ReadHistory(m.Header[schema.HeaderHistory])...)
		if p.State == lifecycle.StateWaiting {
			i.NextPollAt = timeOf(p.By.Due)
		}
		if p.By.Foreign() {
			i.Problem = ForeignMessage
		}
	case p.Outcome != nil:
		e := readEvent(s.events[p.Outcome.Sequence])
		i.Since, i.Type, i.Polls = timeOf(p.Outcome.Stored), e.Type, e.Polls
		i.History = append(i.History, e.History...)
	case s.Declared != nil:
		i.Since, i.Type = timeOf(s.Declared.Stored), f.typeOf(s.Declared.Subject)
		if s.problem != nil {
			i.Problem, i.Detail = InvalidMessage, schema.Printable(s.problem.Error())
		}
	}
	return i
}

// timeOf returns nil for the zero time, and for one that cannot be encoded.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() || !schema.Encodable(t) {
		return nil
	}
	t = t.UTC()
	return &t
}
