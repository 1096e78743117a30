package consumer

import (
	"context"
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

// restAfter is how many polls in a row must meet trouble, with no success between them, before the worker rests: one
// bad answer among many good ones is no outage. A vendor that says 429 is believed at once.
const restAfter = 3

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
	told    time.Time // when the log last heard of it
	streak  int
	probing bool // a probe is out
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
		now: now, log: log, changed: make(chan struct{}),
		lengths: backoff.NewExponentialBackOff(backoff.WithInitialInterval(restLeast), backoff.WithMaxInterval(restMost),
			backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0)),
	}
}

func (r *rest) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// admit waits until the caller may pull deliveries that poll. A probe may pull one, and must call [rest.release] when it
// is through with it. It returns an error only when ctx ends.
func (r *rest) admit(ctx context.Context) (probe bool, err error) {
	for {
		r.mu.Lock()
		if !r.resting {
			r.mu.Unlock()
			return false, ctx.Err()
		}
		wait := r.until.Sub(r.now())
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

// report says how a poll went: without trouble, or with which, until when the vendor wants to be left alone (zero: it
// did not say), and what it said. It begins, lengthens and ends rests.
func (r *rest) report(trouble Trouble, until time.Time, probe bool, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if trouble == NoTrouble {
		r.streak = 0
		// A poll that was out when the vendor asked to be left alone proves nothing about the time after it.
		if r.resting && !now.Before(r.asked) {
			r.resting, r.cause, r.detail = false, NoTrouble, ""
			r.lengths.Reset()
			r.log.Info("the vendor answers again: polling goes on")
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
	if !r.resting && r.streak < restAfter && trouble != Throttled {
		return
	}
	next := now.Add(r.lengths.NextBackOff())
	if until.After(now) {
		next = until
	}
	if trouble == Throttled || until.After(now) {
		r.asked = later(r.asked, next)
	}
	next = later(r.asked, next)
	if !r.resting || r.cause != trouble || now.Sub(r.told) >= tellEvery {
		r.told = now
		r.log.WithFields(logrus.Fields{"cause": trouble, "until": next.UTC().Format(time.RFC3339), "detail": detail}).
			Warn("the vendor is in trouble: resting, then one poll at a time until one succeeds")
	}
	r.resting, r.cause, r.until, r.detail = true, trouble, next, detail
	r.broadcast()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
