package breaker

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/sirupsen/logrus"

	"statusworker/schema"
)

const (
	minPause = time.Second
	// MaxPause is how long a pause may be, but for the jitter and the vendor's Retry-After.
	MaxPause = 5 * time.Minute
	// pauseEach bounds a pause for each interaction that failed: where few fail, they may be all that is wrong, and
	// what falls due next must soon be able to show that the vendor works.
	pauseEach = 500 * time.Millisecond
	// maxKnown is how many of these interactions are remembered: more make no pause longer.
	maxKnown = int(MaxPause / pauseEach)
	// maxPassed is how many deliveries a probe passes over in one pause.
	maxPassed = 64
	// probeHandicap is how much longer than the others the lane whose probe failed waits to make the next one, so that
	// another has its turn when it has something due.
	probeHandicap = 750 * time.Millisecond
)

// Config says for which polls a breaker is made. All fields are required.
type Config struct {
	Now func() time.Time
	Log logrus.FieldLogger
	// Shortest and Longest are the bounds of the poll intervals, and Slack is by how much a worker may exceed one.
	Shortest, Longest, Slack time.Duration
	// Grace is for how long the vendor must have refused an interaction before it is believed.
	Grace time.Duration
}

// Breaker keeps a worker away from a vendor in trouble. The worker is working, or paused until some moment, or probing:
// then one delivery at a time may poll, and its result ends the pause or begins the next, longer one. It is safe for
// concurrent use.
type Breaker struct {
	now func() time.Time
	log logrus.FieldLogger

	mu      sync.Mutex
	paused  bool // or probing, when until has passed
	cause   Failure
	detail  string // what the vendor said last
	until   time.Time
	asked   time.Time // the vendor asked to be left alone until then: no success ends the pause sooner
	success time.Time // the last one
	streak  int       // failed polls in a row
	// failed are the interactions whose polls have failed since then, and refused those that the vendor refused, with
	// the HTTP status. Neither has more than maxKnown.
	failed  map[string]bool
	refused map[string]int
	// before are those that were refused before the last success, and had no status since: they may be all that is
	// refused. That is not so where they did not end by it, and nothing has succeeded for beforeQuiet.
	before      map[string]bool
	beforeQuiet time.Duration
	// passed are those that a probe has passed over in this pause.
	passed            map[string]bool
	shortest, longest time.Duration // poll intervals
	// refusedQuiet is how long nothing may have succeeded before a worker pauses because the vendor refuses all; where
	// nothing ever has, it is the shortest interval since refusedFrom, when the first of these refusals came.
	refusedQuiet time.Duration
	refusedFrom  time.Time
	// watched is since when the worker can tell whether the vendor refuses one interaction or all; doubted says that it
	// paused since then because the vendor refused all.
	watched     time.Time
	doubted     bool
	probing     bool // a probe is out
	handicapped int  // the lane whose probe failed last; -1 is none
	logged      map[Failure]*logged
	failing     time.Time          // when failing polls were last logged
	began       map[Failure]uint64 // how many pauses, by cause
	lengths     *backoff.ExponentialBackOff
	changed     chan struct{} // closed, and replaced, at every change
}

// New makes the breaker of a worker that works.
func New(c Config) *Breaker {
	return &Breaker{
		now: c.Now, log: c.Log, shortest: c.Shortest, longest: c.Longest, watched: c.Now(), handicapped: -1,
		refusedQuiet: min(2*(c.Longest+c.Slack), c.Grace), beforeQuiet: amongOthers(c.Longest, c.Grace),
		failed: map[string]bool{}, refused: map[string]int{}, before: map[string]bool{}, passed: map[string]bool{},
		logged: map[Failure]*logged{}, began: map[Failure]uint64{}, changed: make(chan struct{}),
		lengths: backoff.NewExponentialBackOff(backoff.WithInitialInterval(minPause), backoff.WithMaxInterval(MaxPause),
			backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0)),
	}
}

func (b *Breaker) broadcast() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Admit waits until the lane may pull deliveries that poll. A probe may pull one. Its caller must call
// [Breaker.Release] afterwards, also where an error comes with it. The error is that of ctx.
func (b *Breaker) Admit(ctx context.Context, lane int) (probe bool, err error) {
	for {
		b.mu.Lock()
		if !b.paused {
			b.mu.Unlock()
			return false, ctx.Err()
		}
		wait := b.until.Sub(b.now())
		if lane == b.handicapped {
			wait += probeHandicap
		}
		if wait <= 0 && !b.probing {
			b.probing = true
			b.mu.Unlock()
			return true, ctx.Err()
		}
		changed := b.changed
		probing := b.probing
		b.mu.Unlock()

		var due <-chan time.Time
		if !probing {
			due = time.After(wait)
		}
		select {
		case <-changed:
		case <-due:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// Release gives the probe back, with or without a report about it.
func (b *Breaker) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	b.broadcast()
}

// MayPoll tells whether a delivery that is no probe may poll now.
func (b *Breaker) MayPoll() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.paused
}

// PassesOver tells whether a probe of this interaction is to leave its turn to what is due behind it, because it was
// polled before, by this worker or another: one that is new says more. That is so once a pause for each interaction,
// and for no more than some of them, so that a probe is made in the end.
func (b *Breaker) PassesOver(identifier string, polled bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.failed[identifier] || b.refused[identifier] != 0
	if !b.paused || !known && !polled || b.passed[identifier] || len(b.passed) >= maxPassed {
		return false
	}
	b.passed[identifier] = true
	return true
}

// State says whether a worker keeps away from the vendor, and why.
type State struct {
	State schema.WorkerState
	// Cause, Until and Detail are empty while it works. Until is when the pause ends or ended.
	Cause  Failure
	Until  time.Time
	Detail string
}

// State gives the state now.
func (b *Breaker) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.paused {
		return State{State: schema.Working}
	}
	s := State{State: schema.Paused, Cause: b.cause, Until: b.until, Detail: b.detail}
	if !b.now().Before(b.until) {
		s.State = schema.Probing
	}
	return s
}

// Until is when the pause ends or ended; zero where the worker works.
func (b *Breaker) Until() time.Time { return b.State().Until }

// Pauses is how many pauses have begun, by cause.
func (b *Breaker) Pauses() map[Failure]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.began)
}

// Cut ends a pause that has this cause: the next poll is a probe, and due now, or when the vendor asked for it.
func (b *Breaker) Cut(cause Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.now(); b.paused && b.cause == cause && b.until.After(now) {
		b.until = later(now, b.asked)
		b.lengths.Reset()
		b.broadcast()
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
