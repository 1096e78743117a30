package patience_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/internal/patience"
)

func TestTimeWithoutProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := patience.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		child, stop := context.WithCancel(ctx)
		defer stop()
		for range 5 {
			time.Sleep(9 * time.Second)
			patience.Progress(child)
		}
		if synctest.Wait(); ctx.Err() != nil {
			t.Fatalf("the context ended despite progress: %v", context.Cause(ctx))
		}
		began := time.Now()
		<-child.Done()
		if took := time.Since(began); took != 10*time.Second || !patience.Out(ctx) || !patience.Out(child) {
			t.Errorf("the context ended after %v without progress (%v), want a timeout after 10s", took,
				context.Cause(ctx))
		}
		if patience.Progress(ctx); ctx.Err() == nil {
			t.Error("progress revived the context")
		}
	})
}

func TestOtherEnds(t *testing.T) {
	t.Parallel()
	outer, end := context.WithCancel(t.Context())
	ctx, cancel := patience.WithTimeout(outer, time.Hour)
	defer cancel()
	end()
	if <-ctx.Done(); patience.Out(ctx) {
		t.Error("the end of the parent context counts as a timeout")
	}
	other, stop := patience.WithTimeout(t.Context(), time.Hour)
	if stop(); patience.Out(other) {
		t.Error("a cancellation counts as a timeout")
	}
	patience.Progress(t.Context()) // ignored
}
