package harness

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

const pollEvery = 25 * time.Millisecond

// Eventually calls condition until it returns nil, at once and then every 25 ms. When ctx ends first, it returns an
// error that names what was awaited and carries the last error of condition. Condition gets ctx, so that one attempt
// cannot outlive the wait.
func Eventually(ctx context.Context, what string, condition func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err // an error that is only the end of ctx would hide what was wrong before
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; at last: %w", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

// Context is the test's context, bounded by d.
func Context(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("%v have passed", d))
	t.Cleanup(cancel)
	return ctx
}

// Check ends the test when err is not nil. It must be called from the test's goroutine.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// try bounds one attempt inside [Eventually].
func try(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, errAttempt)
	defer cancel()
	return f(ctx)
}

var errAttempt = errors.New("no answer within the time of one attempt")
