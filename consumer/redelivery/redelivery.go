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

// Outcomes reads what is stored on the outcome subjects of an interaction, the newest on each.
type Outcomes interface {
	Outcomes(ctx context.Context, identifier string) ([]lifecycle.Outcome, error)
}

// Config is what both ways of redelivery need. All of it must be set.
type Config struct {
	Broker   Broker
	Outcomes Outcomes
	// Clock is the broker's, measured.
	Clock *clock.Clock
	// Now is this process's clock. Jitter gives numbers in [0, 1).
	Now    func() time.Time
	Jitter func() float64

	// Interval is the least time between two polls of one interaction.
	Interval func(schema.Type) time.Duration
	// RequestTimeout is how long a poll may take, Deadline the age at which an interaction is given up.
	RequestTimeout, Deadline time.Duration
	// Stretch and StretchLimit are as [Wait] has them.
	Stretch      float64
	StretchLimit time.Duration
	// OverdueAfter is how long after its time a reservation is stored again.
	OverdueAfter time.Duration
	// RateLimit bounds the polls a second of the whole fleet; 0 is no bound.
	RateLimit float64
	// RememberRefusals is for how long a worker remembers that the vendor refused an interaction, where the broker
	// keeps nothing for it.
	RememberRefusals time.Duration
}

// Verdict is what becomes of a delivery that has begun.
type Verdict string

// The verdicts on a delivery. All but Poll have settled it.
const (
	// Poll: it may be polled.
	Poll Verdict = "poll"
	// Drop: the interaction has ended, or somebody else holds its next poll.
	Drop Verdict = "drop"
	// Early: it has fallen due too soon, and waits.
	Early Verdict = "early"
	// Twice and Processed: the declared message begins no generation, see package lifecycle.
	Twice     = Verdict(lifecycle.Twice)
	Processed = Verdict(lifecycle.Processed)
)

// Wait is how long an interaction of that age is held back at least: the interval, or the share stretch of its age
// where that is more, but never more than limit for that. A stretch of 0 is none.
func Wait(interval, age time.Duration, stretch float64, limit time.Duration) time.Duration {
	return max(interval, min(time.Duration(stretch*float64(age)), limit))
}

// jitterShare spreads the polls over this share of the interval.
const jitterShare = 0.05

func (c Config) jitter(interval time.Duration) time.Duration {
	return time.Duration(c.Jitter() * jitterShare * float64(interval))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
