// Package patience limits the time without progress, instead of the total time: how long a sequence of requests takes
// depends on the distance to the broker.
package patience

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/permission"
)

type key struct{}

// WithTimeout returns a context that ends when [Progress] has not been called for a time. Its cause is then
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

// Progress restarts the timeout of a context from [WithTimeout]. It ignores other contexts.
func Progress(ctx context.Context) {
	if wait, ok := ctx.Value(key{}).(func()); ok && ctx.Err() == nil {
		wait()
	}
}

// Out reports whether a context ended because of its timeout.
func Out(ctx context.Context) bool { return errors.Is(context.Cause(ctx), context.DeadlineExceeded) }

// Guarded wraps requests so that a missing permission becomes an error at once, and each answer counts as progress.
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
