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
	// MaxPause is the longest pause, apart from the jitter and the vendor's Retry-After.
	MaxPause = 5 * time.Minute
	// pauseEach limits a pause for each interaction that failed. If few fail, the vendor may work for all others, and
	// the next due interaction should soon be able to show it.
	pauseEach = 500 * time.Millisecond
	// maxKnown limits the remembered interactions: more do not make a pause longer.
	maxKnown = int(MaxPause / pauseEach)
	// maxPassed limits the deliveries that probes pass over in one pause.
	maxPassed = 64
	// probeHandicap is an additional wait for the lane whose probe failed: another lane that has a due message then
	// makes the next probe.
	probeHandicap = 750 * time.Millisecond
)

// Config configures a breaker. All fields are required.
type Config struct {
	Now func() time.Time
	Log logrus.FieldLogger
	// Shortest and Longest are the limits of the poll intervals. Slack is by how much a worker can exceed an interval.
	Shortest, Longest, Slack time.Duration
	// Grace is for how long the vendor must refuse an interaction before it is dead-lettered.
	Grace time.Duration
}

// Breaker is the circuit breaker of a worker. The worker is working, paused until a certain time, or probing: then one
// delivery at a time may poll, and its result ends the pause or begins the next, longer one. It is safe for concurrent
// use.
type Breaker struct {
	now func() time.Time
	log logrus.FieldLogger

	mu      sync.Mutex
	paused  bool // or probing, after until
	cause   Failure
	detail  string // of the last failure
	until   time.Time
	asked   time.Time // the vendor's Retry-After: no success ends the pause earlier
	success time.Time // the last one
	streak  int       // failed polls in a row
	// failed are the interactions whose polls have failed since the last answer (a status or a refusal). refused are
	// those that the vendor refused since the last status, with the HTTP status. Neither has more than maxKnown.
	failed  map[string]bool
	refused map[string]int
	// before are those that were refused before the last success and had no status since. They do not count towards
	// refusedMany until nothing has succeeded for beforeQuiet: they may be the only ones that the vendor refuses.
	before      map[string]bool
	beforeQuiet time.Duration
	// passed are those that probes have passed over in this pause.
	passed            map[string]bool
	shortest, longest time.Duration // poll intervals
	// A worker pauses because the vendor refuses all only if the last success is at least refusedQuiet ago. If no poll
	// has succeeded yet, it pauses if the first of these refusals (refusedFrom) is at least the shortest interval ago.
	refusedQuiet time.Duration
	refusedFrom  time.Time
	// watched is since when the worker can distinguish refusals of one interaction from refusals of all. doubted means
	// that it has paused since then because the vendor refused all.
	watched     time.Time
	doubted     bool
	probing     bool // a lane has the probe
	handicapped int  // the lane whose probe failed last; -1 is none
	logged      map[Failure]*logged
	failing     time.Time          // when failing polls were last logged
	began       map[Failure]uint64 // how many pauses, by cause
	lengths     *backoff.ExponentialBackOff
	changed     chan struct{} // closed, and replaced, at every change
}

// New returns a breaker in the state working.
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

// Admit waits until the lane may pull deliveries that poll. With a probe it may pull one, and the caller must call
// [Breaker.Release] afterwards, also after an error. The error is that of ctx.
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

// Release lets another lane have the probe. A Report before it is optional.
func (b *Breaker) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	b.broadcast()
}

// MayPoll reports whether a delivery that is not a probe may poll now.
func (b *Breaker) MayPoll() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.paused
}

// PassesOver reports whether a probe should skip this interaction in favor of those that are due after it, because it
// was polled before, by this worker or another: the result of a new one says more about the vendor. A probe skips each
// interaction once per pause, and at most maxPassed of them, so that a probe is always made in the end.
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

// State is the state of a breaker, with its cause.
type State struct {
	State schema.WorkerState
	// Cause, Until and Detail are empty in the state working. Until is the end of the pause.
	Cause  Failure
	Until  time.Time
	Detail string
}

// State returns the current state.
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

// Until is the end of the pause; zero in the state working.
func (b *Breaker) Until() time.Time { return b.State().Until }

// Pauses returns the number of pauses that have begun, by cause.
func (b *Breaker) Pauses() map[Failure]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.began)
}

// Cut ends a pause with this cause. The next poll is a probe. It may start now, or after the vendor's Retry-After.
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
