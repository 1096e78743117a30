package redelivery

import (
	"context"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// Broker is what redelivery asks of the broker.
type Broker interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	Last(ctx context.Context, stream, subjects string) (broker.Message, error)
	Consumer(ctx context.Context, stream, consumer string) (broker.ConsumerState, error)
	OverdueBroker
}

// Outcomes reads the stored outcomes of an interaction, the newest one on each subject.
type Outcomes interface {
	Outcomes(ctx context.Context, identifier string) ([]lifecycle.Outcome, error)
}

// Config configures both modes of redelivery. All fields are required, except Stretch and RateLimit, which 0 disables.
type Config struct {
	Broker    Broker
	Namespace schema.Namespace
	Outcomes  Outcomes
	// Clock is the measured clock of the broker.
	Clock *clock.Clock
	// Now is this process's clock. Jitter returns numbers in [0, 1).
	Now    func() time.Time
	Jitter func() float64

	// Interval is the minimum time between two polls of one interaction.
	Interval func(schema.Type) time.Duration
	// RequestTimeout limits a poll. Deadline is the age at which an interaction is dead-lettered.
	RequestTimeout, Deadline time.Duration
	// Stretch and StretchLimit are those of [Wait].
	Stretch      float64
	StretchLimit time.Duration
	// OverdueAfter is how long after its time a reservation is stored again.
	OverdueAfter time.Duration
	// RateLimit limits the polls per second of the whole fleet; 0 is no limit.
	RateLimit float64
	// RememberRefusals is for how long a worker remembers refusals of an interaction if the broker does not store them.
	RememberRefusals time.Duration
}

// Verdict is the result of beginning a delivery.
type Verdict string

// The verdicts. With all but Poll, the delivery is settled.
const (
	// Poll: the worker may poll the interaction.
	Poll Verdict = "poll"
	// Drop: the interaction has ended, or another worker has taken it over.
	Drop Verdict = "drop"
	// Early: the poll fell due too early, and will fall due again.
	Early Verdict = "early"
	// Undecided: the declared message waits for the outcome of another generation. Only [Naks] return it.
	Undecided = Verdict(lifecycle.Undecided)
	// Twice and Processed: the declared message begins no generation, see package lifecycle. Only [Naks] return them.
	Twice     = Verdict(lifecycle.Twice)
	Processed = Verdict(lifecycle.Processed)
)

// Wait is the minimum time between two polls of an interaction of that age: the interval, or, if that is longer, the
// fraction stretch of its age, up to limit. A stretch of 0 has no effect.
func Wait(interval, age time.Duration, stretch float64, limit time.Duration) time.Duration {
	return max(interval, min(time.Duration(stretch*float64(age)), limit))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
