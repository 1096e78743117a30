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

// StatusClient asks the vendor for the status of an interaction. It makes one request, which must not leave after
// sendBy. Its error is a [*schema.PollError].
type StatusClient interface {
	Status(ctx context.Context, identifier string, sendBy time.Time) (schema.Answer, error)
}

// OutcomePublisher stores the outcomes of one interaction, exactly once however often it is called for them. It returns
// nil when they are stored, now or before, or when a stored outcome that contradicts them is kept.
type OutcomePublisher interface {
	Publish(ctx context.Context, outcomes ...schema.Outcome) error
	// Outcomes reads what is stored on the outcome subjects of an interaction, the newest on each.
	Outcomes(ctx context.Context, identifier string) ([]lifecycle.Outcome, error)
}

// Observer is told of what is worth measuring. Its methods are called by many goroutines, in the way of polls: they
// must be quick.
type Observer interface {
	// Polled tells of a status request: how long it took, and how long after it fell due it was made; less than 0 where
	// nobody knows.
	Polled(t schema.Type, result Result, took, late time.Duration)
	// Ended tells that the outcome of an interaction is stored, and how long after it was declared.
	Ended(t schema.Type, age time.Duration)
}

// unobserved is the observer where there is none.
type unobserved struct{}

func (unobserved) Polled(schema.Type, Result, time.Duration, time.Duration) {}
func (unobserved) Ended(schema.Type, time.Duration)                         {}

// Intervals are the least times between two polls of one interaction.
type Intervals struct {
	Audio, Chat, Transcript time.Duration
}

// Guidance is the vendor's polling guidance: at most every 30 seconds for audio, every 5 seconds for chat and
// transcript ("Check the Processing Status").
var Guidance = Intervals{Audio: 30 * time.Second, Chat: 5 * time.Second, Transcript: 5 * time.Second}

// Of is the interval of a type.
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

// Longest is the longest of the intervals.
func (i Intervals) Longest() time.Duration { return max(i.Audio, i.Chat, i.Transcript) }

// Shortest is the shortest of the intervals.
func (i Intervals) Shortest() time.Duration { return min(i.Audio, i.Chat, i.Transcript) }

// Config says how a worker works. Zero values take the defaults.
type Config struct {
	// Intervals defaults to [Guidance].
	Intervals Intervals
	// RequestTimeout is how long the status client may take; [DefaultRequestTimeout] by default.
	RequestTimeout time.Duration
	// Deadline is the age at which an interaction that is not terminal is given up; 24 h by default.
	Deadline time.Duration
	// NotFoundGrace is for how long the vendor must have refused an interaction (404, or another 4xx that is about it)
	// before it is believed, counted from the first refusal; 5 min by default.
	NotFoundGrace time.Duration
	// FailedStatuses are statuses that the vendor's documentation does not know, and that end an interaction as failed.
	FailedStatuses []schema.Status
	// Concurrency is how many deliveries are worked on at once, over all lanes; 64 by default, at least 4.
	Concurrency int
	// Stretch makes the wait between two polls this share of the interaction's age, where that is more than its
	// interval; 0, the default, is none. StretchLimit bounds that; 10 min by default.
	Stretch      float64
	StretchLimit time.Duration
	// MaxPollsPerSecond bounds the requests of the whole fleet: each worker takes an equal share; 0, the default, is no
	// bound. All workers must be told the same number: each takes its share of its own.
	MaxPollsPerSecond float64
	// OverdueAfter is how long after its time a reservation is stored again; [redelivery.OverdueAfter] by default.
	OverdueAfter time.Duration
	// Host and Version are what the worker says of itself.
	Host, Version string
	// ShutdownTimeout is how long polls that are out may finish after the worker was told to stop; 20 s by default.
	ShutdownTimeout time.Duration
	// Observer defaults to nobody.
	Observer Observer
	// Tracer makes a span for each delivery that polls, and for the poll in it; nil, the default, makes none and costs
	// nothing.
	Tracer trace.Tracer
	// Away tells whether the connection to the broker is lost for now. Whoever made the connection logs that: the
	// worker logs no faults meanwhile. nil is never.
	Away func() bool
	// Log defaults to nothing.
	Log logrus.FieldLogger
	// Now and Jitter come from outside for tests. Jitter gives numbers in [0, 1).
	Now    func() time.Time
	Jitter func() float64
}

// DefaultRequestTimeout is the default of [Config.RequestTimeout].
const DefaultRequestTimeout = 10 * time.Second

// ConfigError says which field of a Config is wrong, with which value, and what is allowed.
type ConfigError struct {
	Field, Value, Want string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("consumer: %s is %s, want %s", e.Field, e.Value, e.Want)
}

func (c Config) withDefaults() Config {
	for _, i := range []struct{ have, def *time.Duration }{
		{&c.Intervals.Audio, &Guidance.Audio}, {&c.Intervals.Chat, &Guidance.Chat}, {&c.Intervals.Transcript, &Guidance.Transcript},
	} {
		if *i.have == 0 {
			*i.have = *i.def
		}
	}
	defaults := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
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

// maxRequestTimeout bounds how long a request may hold its slot.
const maxRequestTimeout = time.Minute

// WantConcurrency says in words what a Config's Concurrency may be.
const WantConcurrency = "4 to 4096: one for the intake and one for each lane at least"

// Check says what is wrong with c after its defaults; the error is a [*ConfigError].
func (c Config) Check() error {
	c = c.withDefaults()
	const least = 50 * time.Millisecond
	const most = 3650 * 24 * time.Hour // what is reckoned with it stays a time
	for _, f := range []struct {
		name        string
		value       time.Duration
		least, most time.Duration
	}{
		{"Intervals.Audio", c.Intervals.Audio, least, most},
		{"Intervals.Chat", c.Intervals.Chat, least, most},
		{"Intervals.Transcript", c.Intervals.Transcript, least, most},
		{"RequestTimeout", c.RequestTimeout, time.Millisecond, maxRequestTimeout}, // see stillAfter
		{"Deadline", c.Deadline, time.Millisecond, math.MaxInt64},
		{"NotFoundGrace", c.NotFoundGrace, time.Millisecond, math.MaxInt64},
		{"ShutdownTimeout", c.ShutdownTimeout, time.Millisecond, math.MaxInt64},
		{"StretchLimit", c.StretchLimit, time.Second, math.MaxInt64},
		{"OverdueAfter", c.OverdueAfter, least, most},
	} {
		if f.value < f.least {
			return &ConfigError{
				Field: f.name,
				Value: schema.Duration(f.value),
				Want:  "at least " + schema.Duration(f.least),
			}
		}
		if f.value > f.most {
			return &ConfigError{
				Field: f.name,
				Value: schema.Duration(f.value),
				Want:  "at most " + schema.Duration(f.most),
			}
		}
	}
	if longest := c.Intervals.Longest(); c.Deadline <= longest {
		return &ConfigError{
			Field: "Deadline",
			Value: schema.Duration(c.Deadline),
			Want: "more than " + schema.Duration(
				longest,
			) + ", the longest interval: every interaction would be given up at its first poll",
		}
	}
	for _, status := range c.FailedStatuses {
		if want := checkFailedStatus(status); want != "" {
			return &ConfigError{Field: "FailedStatuses", Value: string(status), Want: want}
		}
	}
	if !(c.Stretch >= 0 && c.Stretch <= 1) { // so that NaN is refused too
		return &ConfigError{
			Field: "Stretch",
			Value: fmt.Sprint(c.Stretch),
			Want:  "0 to 1: a share of the interaction's age",
		}
	}
	if c.MaxPollsPerSecond != 0 && !(c.MaxPollsPerSecond >= 0.01 && c.MaxPollsPerSecond <= 1e6) {
		return &ConfigError{
			Field: "MaxPollsPerSecond",
			Value: fmt.Sprint(c.MaxPollsPerSecond),
			Want:  "0.01 to 1000000, or 0 for no bound",
		}
	}
	if c.Concurrency < 4 || c.Concurrency > 4096 {
		return &ConfigError{Field: "Concurrency", Value: fmt.Sprint(c.Concurrency), Want: WantConcurrency}
	}
	return nil
}

// checkFailedStatus says what is allowed where a status cannot be one of [Config.FailedStatuses].
func checkFailedStatus(s schema.Status) (want string) {
	text := string(s)
	switch {
	case s.Check() != nil || strings.TrimSpace(text) != text:
		return fmt.Sprintf(
			"a status of 1 to %d printable bytes as the vendor writes it, such as transcriptionFailed",
			schema.MaxStatusBytes,
		)
	case slices.ContainsFunc(schema.Statuses(), func(known schema.Status) bool { return strings.EqualFold(text, string(known)) }):
		return "an undocumented status: the meaning of this one is documented"
	}
	return ""
}
