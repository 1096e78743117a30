package harness

import (
	"context"
	"fmt"
	"testing"
	"time"
)

const pollEvery = 25 * time.Millisecond

// Eventually calls condition at once and then every 25 ms, until it returns nil. When ctx ends first, it returns an
// error that contains what and the last error of condition. Condition gets ctx, so that no attempt outlives the wait.
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
			last = err // an error that only reports the end of ctx would hide the cause
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; last error: %w", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

// Context returns the test's context with a timeout of d.
func Context(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("timeout of %v exceeded", d))
	t.Cleanup(cancel)
	return ctx
}

// Check ends the test when err is not nil. Call it from the test's goroutine only.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// try limits one attempt inside [Eventually] to d.
func try(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("the attempt did not end within %s", d))
	defer cancel()
	return f(ctx)
}
