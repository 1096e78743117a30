// Package patience bounds waits by the time without progress, and not by the whole: how long a row of requests may take
// depends on how far away the broker is.
package patience

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/permission"
)

type key struct{}

// WithTimeout gives a context that ends when there was no [Progress] for that time. Its cause is then
// [context.DeadlineExceeded].
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	ctx = context.WithValue(ctx, key{}, func() { timer.Reset(d) })
	return ctx, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}

// Progress lets a context that [WithTimeout] has given wait anew. With any other it does nothing.
func Progress(ctx context.Context) {
	if wait, ok := ctx.Value(key{}).(func()); ok && ctx.Err() == nil {
		wait()
	}
}

// Out tells whether a context ended because its time was over.
func Out(ctx context.Context) bool { return context.Cause(ctx) == context.DeadlineExceeded }

// Guarded makes each request in a guard that reports the right that it lacked, and counts each answer as progress.
func Guarded(nc *nats.Conn) permission.Ask {
	guarded := permission.Guarded(nc)
	return func(ctx context.Context, r permission.Request, do func(context.Context) error) error {
		err := guarded(ctx, r, do)
		if err == nil {
			Progress(ctx)
		}
		return err
	}
}
