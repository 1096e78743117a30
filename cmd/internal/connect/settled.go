package connect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/patience"
)

const (
	// logEvery is how often a wait is logged again.
	logEvery = 30 * time.Second
	// silentFor is how long a wait without progress lasts before it is logged.
	silentFor = time.Second
	// maxRetry bounds the time between two attempts, so that a command continues soon after the broker is available.
	maxRetry = time.Second
)

// A request to JetStream gets no answer where its stream has no leader: it is soon retried, with a longer
// time-out each time, so that a broker far away can answer in the end.
const (
	firstAnswerWithin = time.Second
	lastAnswerWithin  = 10 * time.Second
)

var errNoAnswer = errors.New("no answer yet")

// waiting is a wait for the broker. It logs how long it lasts, and why.
type waiting struct {
	ctx     context.Context
	log     logrus.FieldLogger
	what    string
	hanging *time.Timer

	mu     sync.Mutex
	logged time.Time
	last   error
}

// newWaiting begins a wait. It logs it after a second without progress, and again every half minute.
func newWaiting(ctx context.Context, log logrus.FieldLogger, what string) *waiting {
	w := &waiting{ctx: ctx, log: log, what: what, last: errNoAnswer}
	w.hanging = time.AfterFunc(silentFor, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.logged.IsZero() {
			w.report(errNoAnswer)
		}
	})
	return w
}

// failed takes the error of an attempt.
func (w *waiting) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); w.logged.IsZero() || now.Sub(w.logged) >= logEvery {
		w.report(err)
	}
	w.last = err
}

func (w *waiting) report(err error) {
	w.log.WithError(err).Warn(w.what)
	w.logged = time.Now()
}

// progress notes that the wait makes progress.
func (w *waiting) progress() {
	w.hanging.Reset(silentFor)
	patience.Progress(w.ctx)
}

// retry calls try until it succeeds, its error is permanent, or ctx ends.
func (w *waiting) retry(ctx context.Context, try func() error) error {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(200*time.Millisecond),
		backoff.WithMaxInterval(maxRetry), backoff.WithMaxElapsedTime(0))
	return backoff.RetryNotify(
		try,
		backoff.WithContext(policy, ctx),
		func(err error, _ time.Duration) { w.failed(err) },
	)
}

// over ends the wait with its result. Where its time is over, the error says what it waited for, and what failed last.
func (w *waiting) over(err error) error {
	w.hanging.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && !w.logged.IsZero() {
		w.log.Info(w.what + ": done")
	}
	ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if ended && patience.Out(w.ctx) {
		return fmt.Errorf("%s: %w", w.what, w.last)
	}
	return err
}

// patiently calls try until it succeeds, its error is permanent, or ctx ends.
func patiently(ctx context.Context, log logrus.FieldLogger, what string, try func() error) error {
	w := newWaiting(ctx, log, what)
	return w.over(w.retry(ctx, try))
}

const waitingForJetStream = "waiting for JetStream (it is starting, electing a leader, or not enabled: " +
	"a server needs -js, an account needs jetstream)"

// Settled calls do until the broker answers every request that do makes. Each request over the JetStream that do gets
// has a time-out of its own, and is retried until it is answered. (A change may be made twice: creating what exists,
// alike, is no error.) A right that the user lacks is an error at once. When do has succeeded, that JetStream is like
// any other.
func Settled(
	ctx context.Context,
	js jetstream.JetStream,
	log logrus.FieldLogger,
	do func(context.Context, jetstream.JetStream) error,
) error {
	a := &asking{waiting: newWaiting(ctx, log, waitingForJetStream), guarded: permission.Guarded(js.Conn())}
	a.within.Store(int64(firstAnswerWithin))
	asked := permission.Wrap(js, a.ask)
	err := a.retry(ctx, func() error {
		a.begin()
		err := do(ctx, asked)
		if err != nil && !adapter.Retryable(err) {
			return backoff.Permanent(err)
		}
		return err
	})
	a.settled.Store(true)
	if errors.Is(err, nats.ErrPermissionViolation) {
		err = ExplainDenied(err)
	}
	return a.over(err)
}

// asking makes the requests of a command to the broker at its start.
type asking struct {
	*waiting
	guarded permission.Ask
	settled atomic.Bool
	within  atomic.Int64 // how long a request waits for its answer

	counting           sync.Mutex
	answered, farthest int // requests, of this attempt and of the one that came farthest
}

// begin begins an attempt.
func (a *asking) begin() {
	a.counting.Lock()
	defer a.counting.Unlock()
	a.answered = 0
}

// came counts an answer. Only an attempt that gets farther than all before it is progress.
func (a *asking) came() {
	a.counting.Lock()
	defer a.counting.Unlock()
	if a.answered++; a.answered > a.farthest {
		a.farthest = a.answered
		a.progress()
	}
}

// ask retries a request until it is answered. Once the broker is settled it makes it once.
func (a *asking) ask(ctx context.Context, r permission.Request, do func(context.Context) error) error {
	if a.settled.Load() {
		err := do(ctx)
		if err == nil {
			patience.Progress(ctx)
		}
		return err
	}
	return a.retry(ctx, func() error {
		err := a.once(ctx, r, do)
		switch {
		case err == nil:
			a.came()
			return nil
		case ctx.Err() != nil || errors.Is(err, nats.ErrPermissionViolation):
			return backoff.Permanent(err)
		case !adapter.Retryable(err): // it is an answer as well
			a.came()
			return backoff.Permanent(err)
		}
		return err
	})
}

// once makes one request. After one without an answer the next has a longer time-out; an answer shows how long they
// take.
func (a *asking) once(ctx context.Context, r permission.Request, do func(context.Context) error) error {
	within := time.Duration(a.within.Load())
	if r.Changes { // it takes the broker longer
		within = lastAnswerWithin
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	err := a.guarded(bounded, r, do)
	next := within * 3 / 2
	switch {
	case r.Changes, err != nil && bounded.Err() == nil:
		return err
	case err == nil:
		next = max(4*time.Since(began), firstAnswerWithin)
	}
	a.within.CompareAndSwap(int64(within), int64(min(next, lastAnswerWithin)))
	return err
}

// ExplainDenied adds to a violation what to do about it.
func ExplainDenied(denied error) error {
	if v := (*permission.Violation)(nil); errors.As(denied, &v) && v.Operation == permission.Subscribe { // to answers
		return fmt.Errorf(
			"%w; for a user with an inbox of its own, set --nats-inbox-prefix ($NATS_INBOX_PREFIX)",
			denied,
		)
	}
	return fmt.Errorf(
		"%w; docs/permissions.md lists the permissions of each command, and `statusworker doctor` tries a worker's",
		denied,
	)
}
