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
	"statusworker/cmd/broker/api"
	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/patience"
)

const (
	// logEvery is the time between two log lines of a wait.
	logEvery = 30 * time.Second
	// silentFor is how long a wait without progress lasts before it is logged.
	silentFor = time.Second
	// maxRetry limits the time between two attempts, so that a command continues soon after the broker is available.
	maxRetry = time.Second
)

// A request to JetStream gets no answer while its stream has no leader. It is retried with a longer timeout each time,
// so that a distant broker can answer in the end.
const (
	minAnswerTimeout = time.Second
	maxAnswerTimeout = 10 * time.Second
)

var errNoAnswer = errors.New("no answer yet")

// reason is why a command waits.
type reason struct {
	log, done string // messages at the beginning and at the end
	advice    string // what to check
	servers   string // optional
}

// waiting is a wait for the broker. It logs that it waits, and why.
type waiting struct {
	ctx     context.Context
	log     logrus.FieldLogger
	reason  reason
	hanging *time.Timer

	mu     sync.Mutex
	logged time.Time
	last   error
}

// newWaiting begins a wait. It is logged after silentFor without progress, and every logEvery.
func newWaiting(ctx context.Context, log logrus.FieldLogger, why reason) *waiting {
	if why.servers != "" {
		log = log.WithField("servers", why.servers)
	}
	w := &waiting{ctx: ctx, log: log, reason: why, last: errNoAnswer}
	w.hanging = time.AfterFunc(silentFor, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.logged.IsZero() {
			w.report(errNoAnswer)
		}
	})
	return w
}

// failed records the error of an attempt.
func (w *waiting) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); w.logged.IsZero() || now.Sub(w.logged) >= logEvery {
		w.report(err)
	}
	w.last = err
}

func (w *waiting) report(err error) {
	w.log.WithError(err).WithField("advice", w.reason.advice).Warn(w.reason.log)
	w.logged = time.Now()
}

// progress restarts the timeouts of the wait.
func (w *waiting) progress() {
	w.hanging.Reset(silentFor)
	patience.Progress(w.ctx)
}

// retry calls try until it succeeds, its error is permanent, or ctx ends.
func (w *waiting) retry(ctx context.Context, try func() error) error {
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(200*time.Millisecond),
		backoff.WithMaxInterval(maxRetry), backoff.WithMaxElapsedTime(0))
	return backoff.RetryNotify(try, backoff.WithContext(policy, ctx),
		func(err error, _ time.Duration) { w.failed(err) })
}

// over ends the wait with its result. After a timeout, the error says what the command waited for, and what failed
// last.
func (w *waiting) over(err error) error {
	w.hanging.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && !w.logged.IsZero() {
		w.log.Info(w.reason.done)
	}
	ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if ended && patience.Out(w.ctx) {
		what := w.reason.log
		if w.reason.servers != "" {
			what += " at " + w.reason.servers
		}
		return fmt.Errorf("%s: %w; %s", what, w.last, w.reason.advice)
	}
	return err
}

// patiently calls try until it succeeds, its error is permanent, or ctx ends.
func patiently(ctx context.Context, log logrus.FieldLogger, why reason, try func() error) error {
	w := newWaiting(ctx, log, why)
	return w.over(w.retry(ctx, try))
}

// Settled calls do until the broker answers every request that do makes. Each request over the JetStream that do gets
// has its own timeout, and is retried until it is answered. A change may be made twice, which is safe: creating an
// equal stream or consumer again is no error. A missing permission is an error at once. After do has succeeded,
// requests over that JetStream are no longer retried.
func Settled(
	ctx context.Context,
	js jetstream.JetStream,
	log logrus.FieldLogger,
	do func(context.Context, jetstream.JetStream) error,
) error {
	why := waitingForJetStream
	if prefix := api.Of(js); prefix != api.Default {
		why.advice = fmt.Sprintf("nothing answers on %s>: check --js-domain ($NATS_JS_DOMAIN) or --js-api-prefix "+
			"($NATS_JS_API_PREFIX), and the connection of the leaf node to its hub; or %s", prefix, why.advice)
	}
	a := &asking{waiting: newWaiting(ctx, log, why), guarded: permission.Guarded(js.Conn())}
	a.timeout.Store(int64(minAnswerTimeout))
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

// asking makes the requests of a command to a broker that may still be starting.
type asking struct {
	*waiting
	guarded permission.Ask
	settled atomic.Bool
	timeout atomic.Int64 // of a request, as a time.Duration

	counting           sync.Mutex
	answered, farthest int // requests that were answered: in this attempt, and in the best one
}

// begin starts an attempt.
func (a *asking) begin() {
	a.counting.Lock()
	defer a.counting.Unlock()
	a.answered = 0
}

// countAnswer counts an answer. Only an attempt that gets farther than all before it is progress.
func (a *asking) countAnswer() {
	a.counting.Lock()
	defer a.counting.Unlock()
	if a.answered++; a.answered > a.farthest {
		a.farthest = a.answered
		a.progress()
	}
}

// ask retries a request until it is answered. Once the broker is settled, it makes the request once.
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
			a.countAnswer()
			return nil
		case ctx.Err() != nil || errors.Is(err, nats.ErrPermissionViolation):
			return backoff.Permanent(err)
		case !adapter.Retryable(err): // an error from the broker is an answer too
			a.countAnswer()
			return backoff.Permanent(err)
		}
		return err
	})
}

// once makes one request, and adapts the timeout of the next: longer after no answer, otherwise by how long the answer
// took.
func (a *asking) once(ctx context.Context, r permission.Request, do func(context.Context) error) error {
	timeout := time.Duration(a.timeout.Load())
	if r.Changes { // changes take the broker longer
		timeout = maxAnswerTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	err := a.guarded(bounded, r, do)
	next := timeout * 3 / 2
	switch {
	case r.Changes, err != nil && bounded.Err() == nil:
		return err
	case err == nil:
		next = max(4*time.Since(began), minAnswerTimeout)
	}
	a.timeout.CompareAndSwap(int64(timeout), int64(min(next, maxAnswerTimeout)))
	return err
}

// ExplainDenied adds advice to a permission violation.
func ExplainDenied(denied error) error {
	if v := (*permission.Violation)(nil); errors.As(denied, &v) && v.Operation == permission.Subscribe { // to answers
		return fmt.Errorf("%w; if the user has its own inbox prefix, set --nats-inbox-prefix ($NATS_INBOX_PREFIX)",
			denied)
	}
	return fmt.Errorf("%w; docs/permissions.md lists the permissions of each command, and "+
		"`statusworker doctor` checks a worker's", denied)
}
