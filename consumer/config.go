package consumer

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/trace"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// GCPercent is the GOGC with which a process should run a worker. docs/decisions.md has the reason.
const GCPercent = 400

// StatusClient asks the vendor for the status of an interaction. It makes one request, and does not send it after
// sendBy. Its error is a [*schema.PollError].
type StatusClient interface {
	Status(ctx context.Context, identifier string, sendBy time.Time) (schema.Answer, error)
}

// OutcomePublisher stores the outcomes of interactions.
type OutcomePublisher interface {
	// Publish stores the outcomes of one interaction, each exactly once, however often it is called for them. It
	// returns nil if they are stored, by this or by an earlier call. It also returns nil, and stores nothing, if a
	// stored outcome contradicts them.
	Publish(ctx context.Context, outcomes ...schema.Outcome) error
	// Outcomes reads the stored outcomes of an interaction, the newest one on each subject.
	Outcomes(ctx context.Context, identifier string) ([]lifecycle.Outcome, error)
}

// Observer is notified of what metrics show. Many goroutines call its methods, on the path of every poll: they must
// return quickly.
type Observer interface {
	// Polled reports a status request. took is its duration; late is the time from its due time to its start, or
	// negative if unknown.
	Polled(t schema.Type, result Result, took, late time.Duration)
	// Ended reports that the outcome of an interaction is stored, and the age of the interaction.
	Ended(t schema.Type, age time.Duration)
}

// unobserved is the default observer.
type unobserved struct{}

func (unobserved) Polled(schema.Type, Result, time.Duration, time.Duration) {}
func (unobserved) Ended(schema.Type, time.Duration)                         {}

// Intervals are the poll intervals: the minimum times between two polls of one interaction.
type Intervals struct {
	Audio, Chat, Transcript time.Duration
}

// Guidance is the vendor's polling guidance: at most every 30 seconds for audio, every 5 seconds for chat and
// transcript ("Check the Processing Status").
var Guidance = Intervals{Audio: 30 * time.Second, Chat: 5 * time.Second, Transcript: 5 * time.Second}

// Of returns the interval of a type.
func (i Intervals) Of(t schema.Type) time.Duration {
	switch t {
	case schema.Audio:
		return i.Audio
	case schema.Chat:
		return i.Chat
	default:
		return i.Transcript
	}
}

// Longest returns the longest interval.
func (i Intervals) Longest() time.Duration { return max(i.Audio, i.Chat, i.Transcript) }

// Shortest returns the shortest interval.
func (i Intervals) Shortest() time.Duration { return min(i.Audio, i.Chat, i.Transcript) }

// Config configures a worker. Zero values select the defaults.
type Config struct {
	// Namespace is [schema.DefaultNamespace] by default.
	Namespace schema.Namespace
	// Intervals defaults to [Guidance].
	Intervals Intervals
	// RequestTimeout limits a status request; [DefaultRequestTimeout] by default.
	RequestTimeout time.Duration
	// Deadline is the age at which an interaction without a final status is dead-lettered; 24 h by default.
	Deadline time.Duration
	// NotFoundGrace is for how long the vendor must refuse an interaction (404, or another 4xx about it), counted from
	// the first refusal, before it is dead-lettered; 5 min by default.
	NotFoundGrace time.Duration
	// FailedStatuses are unknown statuses (the vendor does not document them) that end an interaction as failed.
	FailedStatuses []schema.Status
	// Concurrency is how many deliveries are handled at a time, over all lanes; 64 by default, at least 4.
	Concurrency int
	// Stretch makes the wait between two polls this fraction of the interaction's age, if that is longer than the
	// interval; 0, the default, disables it. StretchLimit limits that wait; 10 min by default.
	Stretch      float64
	StretchLimit time.Duration
	// MaxPollsPerSecond limits the requests of the whole fleet. Each worker takes an equal share; 0, the default, is no
	// limit. All workers must have the same value, because each computes its share from its own.
	MaxPollsPerSecond float64
	// OverdueAfter is how long after its time a reservation is stored again; [redelivery.OverdueAfter] by default.
	OverdueAfter time.Duration
	// Host and Version are part of the worker's announcement.
	Host, Version string
	// ShutdownTimeout is how long polls in flight may take after the worker was stopped; 20 s by default.
	ShutdownTimeout time.Duration
	// Observer is optional.
	Observer Observer
	// Tracer makes a span for each delivery that is polled, and one for the poll; nil, the default, disables tracing.
	Tracer trace.Tracer
	// Away reports whether the connection to the broker is lost. The owner of the connection logs that, and the worker
	// logs no failures meanwhile. It is optional.
	Away func() bool
	// Log is optional.
	Log logrus.FieldLogger
	// Now and Jitter are for tests. Jitter returns numbers in [0, 1).
	Now    func() time.Time
	Jitter func() float64
}

// DefaultRequestTimeout is the default of [Config.RequestTimeout].
const DefaultRequestTimeout = 10 * time.Second

// ConfigError names an invalid field of a Config, its value, and what the value must be.
type ConfigError struct {
	Field, Value, Want string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("consumer: %s is %s; must be %s", e.Field, schema.Quote(e.Value), e.Want)
}

func (c Config) withDefaults() Config {
	defaults := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	defaults(&c.Intervals.Audio, Guidance.Audio)
	defaults(&c.Intervals.Chat, Guidance.Chat)
	defaults(&c.Intervals.Transcript, Guidance.Transcript)
	defaults(&c.RequestTimeout, DefaultRequestTimeout)
	defaults(&c.Deadline, 24*time.Hour)
	defaults(&c.NotFoundGrace, 5*time.Minute)
	defaults(&c.ShutdownTimeout, 20*time.Second)
	defaults(&c.StretchLimit, 10*time.Minute)
	defaults(&c.OverdueAfter, redelivery.OverdueAfter)
	if c.Concurrency == 0 {
		c.Concurrency = 64
	}
	if c.Log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		c.Log = l
	}
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	return c
}

// maxRequestTimeout limits how long a request may occupy its slot.
const maxRequestTimeout = time.Minute

// WantConcurrency describes the allowed values of a Config's Concurrency.
const WantConcurrency = "4 to 4096: at least one for the intake and one for each lane"

// Check checks a Config with its defaults. The error is a [*ConfigError].
func (c Config) Check() error {
	c = c.withDefaults()
	if err := c.checkDurations(); err != nil {
		return err
	}
	for _, status := range c.FailedStatuses {
		if want := checkFailedStatus(status); want != "" {
			return &ConfigError{Field: "FailedStatuses", Value: string(status), Want: want}
		}
	}
	wrong := func(field string, value any, want string) error {
		return &ConfigError{Field: field, Value: fmt.Sprint(value), Want: want}
	}
	switch {
	case !(c.Stretch >= 0 && c.Stretch <= 1): // so that NaN is rejected too
		return wrong("Stretch", c.Stretch, "0 to 1: a fraction of the interaction's age")
	case c.MaxPollsPerSecond != 0 && !(c.MaxPollsPerSecond >= 0.01 && c.MaxPollsPerSecond <= 1e6):
		return wrong("MaxPollsPerSecond", c.MaxPollsPerSecond, "0.01 to 1000000, or 0 for no limit")
	case c.Concurrency < 4 || c.Concurrency > 4096:
		return wrong("Concurrency", c.Concurrency, WantConcurrency)
	}
	return nil
}

func (c Config) checkDurations() error {
	const shortest = 50 * time.Millisecond
	const longest = 3650 * 24 * time.Hour // sums of such durations do not overflow
	wrong := func(field string, value time.Duration, want string) error {
		return &ConfigError{Field: field, Value: schema.Duration(value), Want: want}
	}
	for _, f := range []struct {
		name                    string
		value, minimum, maximum time.Duration
	}{
		{"Intervals.Audio", c.Intervals.Audio, shortest, longest},
		{"Intervals.Chat", c.Intervals.Chat, shortest, longest},
		{"Intervals.Transcript", c.Intervals.Transcript, shortest, longest},
		{"RequestTimeout", c.RequestTimeout, time.Millisecond, maxRequestTimeout}, // see maxHeartbeatAge
		{"Deadline", c.Deadline, time.Millisecond, math.MaxInt64},
		{"NotFoundGrace", c.NotFoundGrace, time.Millisecond, math.MaxInt64},
		{"ShutdownTimeout", c.ShutdownTimeout, time.Millisecond, math.MaxInt64},
		{"StretchLimit", c.StretchLimit, time.Second, math.MaxInt64},
		{"OverdueAfter", c.OverdueAfter, shortest, longest},
	} {
		switch {
		case f.value < f.minimum:
			return wrong(f.name, f.value, "at least "+schema.Duration(f.minimum))
		case f.value > f.maximum:
			return wrong(f.name, f.value, "at most "+schema.Duration(f.maximum))
		}
	}
	if longest := c.Intervals.Longest(); c.Deadline <= longest {
		return wrong("Deadline", c.Deadline, "more than "+schema.Duration(longest)+
			", the longest interval: otherwise every interaction is dead-lettered at its first poll")
	}
	return nil
}

// checkFailedStatus describes the allowed values if a status cannot be one of [Config.FailedStatuses].
func checkFailedStatus(s schema.Status) (want string) {
	text := string(s)
	isText := func(known schema.Status) bool { return strings.EqualFold(text, string(known)) }
	switch {
	case s.Check() != nil || strings.TrimSpace(text) != text:
		return fmt.Sprintf("a status of 1 to %d printable bytes, as ElevateAI writes it, such as transcriptionFailed",
			schema.MaxStatusBytes)
	case slices.ContainsFunc(schema.Statuses(), isText):
		return "an unknown status: ElevateAI documents the meaning of this one"
	}
	return ""
}
