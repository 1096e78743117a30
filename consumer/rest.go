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

// A rest lasts between these, give or take a fifth, growing while the vendor's trouble goes on.
const (
	restLeast = time.Second
	restMost  = 5 * time.Minute
)

// tellEvery is how often a rest that goes on is logged again.
const tellEvery = 5 * time.Minute

const (
	// restAfter is how many polls in a row must meet trouble, with no success between them, before the worker rests: one
	// bad answer among many good ones is no outage. A vendor that says 429 is believed at once.
	restAfter = 3
	// restQuiet is how long nothing may have succeeded before a vendor that is unavailable is given a rest, and restSurely
	// how many polls in a row need no such wait. Polls come in bunches, a lane at a time: where one type of interaction
	// fails and the others do not, a bunch of failures says nothing about the vendor.
	restQuiet  = time.Second
	restSurely = 64
	// probeHandicap is how much longer than the others the lane whose probe failed waits to make the next one, so that
	// another has its turn when it has something due.
	probeHandicap = 3 * (probeWait + probeYield)
)

// rest keeps a worker away from a vendor in trouble. The worker is working, or resting until some moment, or probing:
// then one delivery at a time may poll, and what becomes of it ends the rest or begins the next, longer one.
type rest struct {
	now func() time.Time
	log logrus.FieldLogger

	mu      sync.Mutex
	resting bool // or probing, when until has passed
	cause   Trouble
	detail  string // what the vendor said last
	until   time.Time
	asked   time.Time // until then the vendor asked to be left alone: no success ends the rest sooner
	streak  int
	success time.Time // the last one
	probing bool      // a probe is out
	failed  int       // the lane whose probe failed last; -1 is none
	told    map[Trouble]*telling
	began   map[Trouble]uint64 // how many rests, by cause
	lengths *backoff.ExponentialBackOff
	changed chan struct{} // closed, and made anew, at every change
}

// Rest says whether a worker keeps away from the vendor, and why.
type Rest struct {
	State schema.WorkerState
	// Cause, Until and Detail are empty while it works. Until is when the rest ends or ended.
	Cause  Trouble
	Until  time.Time
	Detail string
}

func newRest(now func() time.Time, log logrus.FieldLogger) *rest {
	return &rest{
		now: now, log: log, failed: -1, told: map[Trouble]*telling{}, began: map[Trouble]uint64{}, changed: make(chan struct{}),
		lengths: backoff.NewExponentialBackOff(backoff.WithInitialInterval(restLeast), backoff.WithMaxInterval(restMost),
			backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0)),
	}
}

func (r *rest) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// admit waits until the lane may pull deliveries that poll. A probe may pull one, and must call [rest.release] when it
// is through with it. It returns an error only when ctx ends.
func (r *rest) admit(ctx context.Context, lane int) (probe bool, err error) {
	for {
		r.mu.Lock()
		if !r.resting {
			r.mu.Unlock()
			return false, ctx.Err()
		}
		wait := r.until.Sub(r.now())
		if lane == r.failed {
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
func (r *rest) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probing = false
	r.broadcast()
}

// mayPoll tells whether a delivery that is no probe may poll now.
func (r *rest) mayPoll() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.resting
}

// look says what there is to say of the rest now.
func (r *rest) look() Rest {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.resting {
		return Rest{State: schema.Working}
	}
	l := Rest{State: schema.Resting, Cause: r.cause, Until: r.until, Detail: r.detail}
	if !r.now().Before(r.until) {
		l.State = schema.Probing
	}
	return l
}

// counts is how many rests have begun, by cause.
func (r *rest) counts() map[Trouble]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.began)
}

// over is when what is out may be polled again as far as the rest goes: its end, or zero where the worker works.
func (r *rest) over() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.resting {
		return time.Time{}
	}
	return r.until
}

// cut ends a rest that has this cause: the next poll is a probe, and due now. The vendor's own wish is kept.
func (r *rest) cut(cause Trouble) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); r.resting && r.cause == cause && r.until.After(now) {
		r.until = later(now, r.asked)
		r.lengths.Reset()
		r.broadcast()
	}
}

// report says how a poll of a lane went: without trouble, or with which, until when the vendor wants to be left alone
// (zero: it did not say), and what it said. It begins, lengthens and ends rests.
func (r *rest) report(lane int, trouble Trouble, until time.Time, probe bool, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if trouble == NoTrouble {
		r.streak, r.success = 0, now
		// A poll that was out when the vendor asked to be left alone proves nothing about the time after it.
		if r.resting && !now.Before(r.asked) {
			r.tellEnd()
			r.resting, r.cause, r.detail, r.failed = false, NoTrouble, "", -1
			r.lengths.Reset()
			r.broadcast()
		}
		return
	}
	r.streak++
	if r.resting && !probe {
		if until.After(r.until) {
			r.until = until
			r.broadcast()
		}
		if trouble == Throttled || until.After(now) {
			if !until.After(now) {
				until = r.until
			}
			r.asked, r.cause = later(r.asked, until), trouble
		}
		return
	}
	if !r.resting && !r.enough(trouble, now) {
		return
	}
	if probe {
		r.failed = lane
	}
	next := now.Add(r.lengths.NextBackOff())
	if until.After(now) {
		next = until
	}
	if trouble == Throttled || until.After(now) {
		r.asked = later(r.asked, next)
	}
	next = later(r.asked, next)
	r.tell(trouble, now, next, detail)
	r.resting, r.cause, r.until, r.detail = true, trouble, next, detail
	r.broadcast()
}

// enough tells whether the trouble that was met is the vendor's, and not that of one interaction or one type.
func (r *rest) enough(trouble Trouble, now time.Time) bool {
	switch {
	case trouble == Throttled:
		return true
	case trouble == Unavailable && r.streak < restSurely && now.Sub(r.success) < restQuiet:
		return false
	}
	return r.streak >= restAfter
}

// telling is when the log last heard of a cause, and how many rests of it began since.
type telling struct {
	at    time.Time
	rests int
	// aloud says that the log heard of the rest that goes on, so that it has to hear of its end.
	aloud bool
}

// tell logs a rest that begins, one that has another cause now, and again one that goes on: each cause every few minutes,
// so that a vendor that comes and goes fills no log. The rests between are there at debug level.
func (r *rest) tell(trouble Trouble, now, until time.Time, detail string) {
	t := r.told[trouble]
	if t == nil {
		t = &telling{}
		r.told[trouble] = t
	}
	begins := !r.resting || r.cause != trouble
	if begins {
		r.began[trouble]++
		t.rests++
		t.aloud = false
	}
	level := logrus.DebugLevel
	if t.at.IsZero() || now.Sub(t.at) >= tellEvery {
		level = logrus.WarnLevel
	} else if !begins {
		return
	}
	r.log.WithFields(logrus.Fields{"cause": trouble, "until": until.UTC().Format(time.RFC3339), "times": t.rests, "detail": detail}).
		Log(level, "the vendor is in trouble: resting, then one poll at a time until one succeeds")
	if level == logrus.WarnLevel {
		t.at, t.rests, t.aloud = now, 0, true
	}
}

// tellEnd logs that a rest has ended, where the log heard of it.
func (r *rest) tellEnd() {
	level := logrus.DebugLevel
	for _, t := range r.told {
		if t.aloud {
			t.aloud, level = false, logrus.InfoLevel
		}
	}
	r.log.WithField("cause", r.cause).Log(level, "the vendor answers again: polling goes on")
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
