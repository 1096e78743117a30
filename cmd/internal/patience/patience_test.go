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
			t.Fatalf("it ended in spite of progress: %v", context.Cause(ctx))
		}
		began := time.Now()
		<-child.Done()
		if took := time.Since(began); took != 10*time.Second || !patience.Out(ctx) || !patience.Out(child) {
			t.Errorf(
				"it ended after %v without progress (%v), want 10s and that its time is over",
				took,
				context.Cause(ctx),
			)
		}
		if patience.Progress(ctx); ctx.Err() == nil {
			t.Error("progress woke it again")
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
		t.Error("the end of the context around it counts as its own")
	}
	other, stop := patience.WithTimeout(t.Context(), time.Hour)
	if stop(); patience.Out(other) {
		t.Error("that it was cancelled counts as the end of its time")
	}
	patience.Progress(t.Context()) // of no wait
}
