package consumer

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/sirupsen/logrus"

	"statusworker/schema"
)

// A pause lasts between these, give or take a fifth. It doubles while the vendor's trouble goes on, but is no longer than
// pauseEach for each interaction that met it: where few fail, they may be all that is wrong, and what falls due next must soon
// be able to show that the vendor works.
const (
	minPause  = time.Second
	maxPause  = 5 * time.Minute
	pauseEach = 500 * time.Millisecond
	// maxKnown is how many of these interactions are remembered: more make no pause longer.
	maxKnown = int(maxPause / pauseEach)
)

const (
	// pauseAfter is how many interactions must meet trouble, with no success between them, before the worker pauses: one that
	// always fails is no outage. A refused token is everybody's: there it is how many polls. A vendor that says 429 is
	// believed at once.
	pauseAfter = 3
	// pauseQuiet is how long nothing may have succeeded before a vendor that is unavailable is given a pause, and pauseSurely
	// how many interactions need no such wait. Polls come in bunches, a lane at a time: where one type of interaction
	// fails and the others do not, a bunch of failures says nothing about the vendor.
	pauseQuiet  = time.Second
	pauseSurely = 64
	// maxPassed is how many deliveries a probe passes over in one pause.
	maxPassed = 64
	// probeHandicap is how much longer than the others the lane whose probe failed waits to make the next one, so that
	// another has its turn when it has something due.
	probeHandicap = 750 * time.Millisecond
)

// breaker keeps a worker away from a vendor in trouble. The worker is working, or paused until some moment, or probing:
// then one delivery at a time may poll, and what becomes of it ends the pause or begins the next, longer one.
type breaker struct {
	now func() time.Time
	log logrus.FieldLogger

	mu      sync.Mutex
	paused  bool // or probing, when until has passed
	cause   VendorFailure
	detail  string // what the vendor said last
	until   time.Time
	asked   time.Time // until then the vendor asked to be left alone: no success ends the pause sooner
	success time.Time // the last one
	streak  int       // polls in a row that met trouble
	// failed are the interactions that met trouble since then, and refused those that the vendor refused, with the HTTP
	// status. Neither has more than maxKnown.
	failed  map[string]bool
	refused map[string]int
	// before are those that were refused before the last success, and had no status since: they may be all that is refused.
	// That is not so where they did not end by it, and nothing has succeeded for beforeQuiet.
	before      map[string]bool
	beforeQuiet time.Duration
	// passed are those of them that a probe has left its turn for, in this pause.
	passed map[string]bool
	// intervals are between two polls of one interaction. refusedQuiet is how long nothing may have succeeded before a worker
	// pauses because the vendor refuses all; where nothing ever has, it is the shortest interval since refusedFrom, when the
	// first of these refusals came.
	intervals    Intervals
	refusedQuiet time.Duration
	refusedFrom  time.Time
	// watched is since when the worker can tell whether the vendor refuses one interaction or all; doubted says that it
	// paused since then because the vendor refused all.
	watched     time.Time
	doubted     bool
	probing     bool // a probe is out
	handicapped int  // the lane whose probe failed last; -1 is none
	told        map[VendorFailure]*telling
	toldFailing time.Time
	began       map[VendorFailure]uint64 // how many pauses, by cause
	lengths     *backoff.ExponentialBackOff
	changed     chan struct{} // closed, and made anew, at every change
}

// BreakerState says whether a worker keeps away from the vendor, and why.
type BreakerState struct {
	State schema.WorkerState
	// Cause, Until and Detail are empty while it works. Until is when the pause ends or ended.
	Cause  VendorFailure
	Until  time.Time
	Detail string
}

func newBreaker(now func() time.Time, log logrus.FieldLogger, intervals Intervals, grace time.Duration) *breaker {
	return &breaker{
		now: now, log: log, intervals: intervals, watched: now(), handicapped: -1,
		refusedQuiet: min(2*(intervals.Longest()+maxSlack), grace), beforeQuiet: refusedAmongOthers(intervals.Longest(), grace),
		failed: map[string]bool{}, refused: map[string]int{}, before: map[string]bool{}, passed: map[string]bool{},
		told: map[VendorFailure]*telling{}, began: map[VendorFailure]uint64{}, changed: make(chan struct{}),
		lengths: backoff.NewExponentialBackOff(backoff.WithInitialInterval(minPause), backoff.WithMaxInterval(maxPause),
			backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0)),
	}
}

func (r *breaker) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// admit waits until the lane may pull deliveries that poll. A probe may pull one, and must call [breaker.release] when it
// is through with it. It returns an error only when ctx ends.
func (r *breaker) admit(ctx context.Context, lane int) (probe bool, err error) {
	for {
		r.mu.Lock()
		if !r.paused {
			r.mu.Unlock()
			return false, ctx.Err()
		}
		wait := r.until.Sub(r.now())
		if lane == r.handicapped {
			wait += probeHandicap
		}
		if wait <= 0 && !r.probing {
			r.probing = true
			r.mu.Unlock()
			return true, ctx.Err()
		}
		changed := r.changed
		probing := r.probing
		r.mu.Unlock()

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

// release gives the probe back, whatever became of it.
func (r *breaker) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probing = false
	r.broadcast()
}

// mayPoll tells whether a delivery that is no probe may poll now.
func (r *breaker) mayPoll() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.paused
}

// look says what there is to say of the pause now.
func (r *breaker) look() BreakerState {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.paused {
		return BreakerState{State: schema.Working}
	}
	l := BreakerState{State: schema.Paused, Cause: r.cause, Until: r.until, Detail: r.detail}
	if !r.now().Before(r.until) {
		l.State = schema.Probing
	}
	return l
}

// counts is how many pauses have begun, by cause.
func (r *breaker) counts() map[VendorFailure]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.began)
}

// over is when what is out may be polled again as far as the pause goes: its end, or zero where the worker works.
func (r *breaker) over() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.paused {
		return time.Time{}
	}
	return r.until
}

// cut ends a pause that has this cause: the next poll is a probe, and due now. The vendor's own wish is kept.
func (r *breaker) cut(cause VendorFailure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); r.paused && r.cause == cause && r.until.After(now) {
		r.until = later(now, r.asked)
		r.lengths.Reset()
		r.broadcast()
	}
}

// passesOver tells whether a probe is to leave its turn to what is due behind it: its interaction was polled before, by this
// worker or another, so that one that is new says more. That is so once a pause for each, and for maxPassed of them, or no probe
// might be made.
func (r *breaker) passesOver(identifier string, polled bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.failed[identifier] || r.refused[identifier] != 0
	if !r.paused || !known && !polled || r.passed[identifier] || len(r.passed) >= maxPassed {
		return false
	}
	r.passed[identifier] = true
	return true
}

// others is what there is to know, by this process's clock, about a refusal of an interaction with that HTTP status.
func (r *breaker) others(identifier string, statusCode int) Others {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Others{
		RefusedAlike: r.refusedLike(identifier, statusCode), AllRefused: r.paused && r.cause == Refused,
		Succeeded: r.success, Since: r.watched, Interval: r.intervals.Longest(),
	}
}

// refusedLike is how many interactions were refused with that HTTP status, the one that is named among them.
func (r *breaker) refusedLike(identifier string, statusCode int) int {
	n := 1
	for other, code := range r.refused {
		if code == statusCode && other != identifier {
			n++
		}
	}
	return n
}

// pollReport says how a poll went.
type pollReport struct {
	lane       int
	identifier string
	probe      bool
	// trouble is the vendor's, or [NoFailure]; refused is the HTTP status with which the vendor refused the interaction, or 0.
	// With neither, the vendor gave a status: that is a success.
	trouble VendorFailure
	refused int
	// ended says that the refusal has ended the interaction: it begins no pause, and counts among those that are refused.
	ended bool
	// until is when the vendor asks to be polled again, or zero; detail is what it said.
	until  time.Time
	detail string
}

// report begins, lengthens and ends pauses.
func (r *breaker) report(p pollReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	switch {
	case p.refused != 0:
		if !r.allRefused(p, now) {
			r.answered(now) // who refuses answers
			return
		}
		p.trouble = Refused
	case p.trouble == NoFailure:
		if r.doubted {
			r.watched, r.doubted = now, false
		}
		r.success = now
		for id := range r.refused {
			if len(r.before) < maxKnown {
				r.before[id] = true
			}
		}
		clear(r.refused)
		delete(r.before, p.identifier)
		r.answered(now)
		return
	case len(r.failed) < maxKnown:
		r.failed[p.identifier] = true
	}
	r.streak++
	switch {
	case r.paused && !p.probe && (p.trouble != Refused || r.cause == Refused):
		r.straggler(p, now)
	case r.paused || r.enough(p.trouble, now):
		r.begin(p, now)
	case r.streak >= pauseAfter && now.Sub(r.success) >= pauseQuiet:
		r.tellFailing(p, now)
	}
}

// allRefused takes in a refusal, and tells whether it is the vendor's trouble: it refuses all. Those that it refused while it gave
// others a status are no sign of that.
func (r *breaker) allRefused(p pollReport, now time.Time) bool {
	if len(r.refused) == 0 {
		r.refusedFrom = now
	}
	if r.refused[p.identifier] != 0 || len(r.refused) < maxKnown {
		r.refused[p.identifier] = p.refused
	}
	if p.ended {
		return false
	}
	if r.paused && r.cause == Refused {
		return true
	}
	alike := 0
	all := now.Sub(r.success) >= r.beforeQuiet
	for id, code := range r.refused {
		if code == p.refused && (all || !r.before[id]) {
			alike++
		}
	}
	return alike >= refusedMany && r.quiet(now)
}

// begin begins a pause, or the next one after a probe that failed.
func (r *breaker) begin(p pollReport, now time.Time) {
	if p.probe {
		r.handicapped = p.lane
	}
	// What the backoff gives grows up to its maximum, which grows with what has failed.
	r.lengths.MaxInterval = min(max(minPause, time.Duration(max(len(r.failed), len(r.refused)))*pauseEach), maxPause)
	next := now.Add(r.lengths.NextBackOff())
	if p.until.After(now) {
		next = p.until
	}
	if p.trouble == Throttled || p.until.After(now) {
		r.asked = later(r.asked, next)
	}
	next = later(r.asked, next)
	r.tell(p.trouble, now, next, p.detail)
	clear(r.passed)
	r.doubted = r.doubted || p.trouble == Refused
	r.paused, r.cause, r.until, r.detail = true, p.trouble, next, p.detail
	r.broadcast()
}

// quiet tells whether nothing has succeeded for so long that refusals are the vendor's trouble.
func (r *breaker) quiet(now time.Time) bool {
	if r.success.IsZero() {
		return now.Sub(r.refusedFrom) >= r.intervals.Shortest()
	}
	return now.Sub(r.success) >= r.refusedQuiet
}

// answered ends a pause: the vendor has answered. A poll that was out when the vendor asked to be left alone proves nothing
// about the time after it.
func (r *breaker) answered(now time.Time) {
	clear(r.failed)
	clear(r.passed)
	r.streak = 0
	if !r.paused || now.Before(r.asked) {
		return
	}
	r.tellEnd()
	r.paused, r.cause, r.detail, r.handicapped = false, NoFailure, "", -1
	r.lengths.Reset()
	r.broadcast()
}

// straggler takes in a poll that was out when the pause began, and met trouble as well.
func (r *breaker) straggler(p pollReport, now time.Time) {
	until := p.until
	if until.After(r.until) {
		r.until = until
		r.broadcast()
	}
	if p.trouble == Throttled || until.After(now) {
		if !until.After(now) {
			until = r.until
		}
		r.asked, r.cause = later(r.asked, until), p.trouble
	}
}

// enough tells whether the trouble that was met is the vendor's, and not that of one interaction or one type.
func (r *breaker) enough(trouble VendorFailure, now time.Time) bool {
	switch {
	case trouble == Throttled, trouble == Refused:
		return true
	case trouble == Unauthorized:
		return r.streak >= pauseAfter
	case trouble == Unavailable && len(r.failed) < pauseSurely && now.Sub(r.success) < pauseQuiet:
		return false
	}
	return len(r.failed) >= pauseAfter
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
