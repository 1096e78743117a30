package clock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/consumer/clock/clocktest"
)

func measured(t *testing.T, b *clocktest.Far) *Clock {
	t.Helper()
	c := New(b.Now, b, "S")
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClockOffset(t *testing.T) {
	for _, offset := range []time.Duration{
		0, time.Nanosecond, 3 * time.Second, -3 * time.Second, 25 * time.Hour, -25 * time.Hour,
	} {
		b := clocktest.NewFar(offset)
		c := measured(t, b)
		b.Local = b.Local.Add(20 * time.Second)
		if got := c.Offset(); got != offset {
			t.Errorf("the offset is %s, want %s", got, offset)
		}
		if got := c.Now(); !got.Equal(b.Broker()) {
			t.Errorf("with an offset of %s the broker's time is %s, want %s", offset, got, b.Broker())
		}
		later := b.Local.Add(time.Minute)
		if got := c.At(later); !got.Equal(later.Add(offset)) {
			t.Errorf("with an offset of %s the broker's clock shows %s at %s, want %s", offset, got, later,
				later.Add(offset))
		}
		if got := c.Local(later); !got.Equal(later.Add(-offset)) {
			t.Errorf("with an offset of %s it is %s here when the broker's clock shows %s, want %s", offset, got, later,
				later.Add(-offset))
		}
	}
}

// The fastest answer is the most precise one.
func TestClockUsesTheFastestAnswer(t *testing.T) {
	for quickest := range samples {
		b := clocktest.NewFar(-time.Second)
		for i := range samples {
			b.There[i], b.Back[i] = 400*time.Millisecond, 100*time.Millisecond
		}
		b.There[quickest], b.Back[quickest] = 3*time.Millisecond, 200*time.Millisecond
		c := measured(t, b)
		if b.Asked != samples {
			t.Errorf("the broker was asked %d times, want %d", b.Asked, samples)
		}
		if ahead := c.Now().Sub(b.Broker()); ahead != 3*time.Millisecond {
			t.Errorf("with answer %d the fastest the clock is ahead by %s, want the 3ms that its request took",
				quickest, ahead)
		}
	}
}

// The next measurement corrects a step of the broker's clock, or another leader's clock.
func TestClockBrokerSteps(t *testing.T) {
	b := clocktest.NewFar(0)
	c := measured(t, b)
	for _, offset := range []time.Duration{time.Hour, -time.Hour, 0} {
		b.Offset = offset
		b.Local = b.Local.Add(every)
		if err := c.Measure(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := c.Offset(); got != offset {
			t.Errorf("after a step of the broker's clock the offset is %s, want %s", got, offset)
		}
	}
}

// A step of this host's wall clock has no effect, because the mark has a monotonic reading, which package time uses for
// differences. (It prints the reading as `m=`.)
func TestClockIsMonotonic(t *testing.T) {
	b := clocktest.NewFar(0)
	c := New(time.Now, b, "S")
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if local := c.known.Load().local.String(); !strings.Contains(local, " m=") {
		t.Errorf("the mark's local time %s has no monotonic reading", local)
	}
	if local := c.Local(b.Broker()).String(); !strings.Contains(local, " m=") {
		t.Errorf("the local time %s, to be compared with now, has no monotonic reading", local)
	}
}

// A clock that may be behind is measured once before anything depends on it. A timestamp, which may be old, never sets
// it.
func TestClockInDoubt(t *testing.T) {
	for name, doubt := range map[string]func(b *clocktest.Far, c *Clock, wall *time.Duration){
		"the monotonic clock stood still": func(b *clocktest.Far, _ *Clock, wall *time.Duration) {
			b.Offset, *wall = b.Offset+3*time.Second, 3*time.Second
		},
		"the wall clock was set back": func(_ *clocktest.Far, _ *Clock, wall *time.Duration) { *wall = -time.Hour },
		"a stamp that is ahead": func(b *clocktest.Far, c *Clock, _ *time.Duration) {
			b.Offset += 3 * time.Second
			c.Notice(b.Broker().Add(-time.Second))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := clocktest.NewFar(time.Minute)
			var wall time.Duration
			c := New(b.Now, b, "S")
			c.wall = func() time.Time { return b.Local.Add(wall) }
			if err := c.Measure(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.Local = b.Local.Add(20 * time.Second)
			wall = maxParted / 2
			c.Notice(b.Broker())
			if c.Doubtful() {
				t.Fatal("it is doubtful already")
			}
			doubt(b, c, &wall)
			before := c.known.Load()
			if !c.Doubtful() || c.known.Load() != before {
				t.Errorf("doubtful: %v, set without a measurement: %v", c.Doubtful(), c.known.Load() != before)
			}
			b.Err = errors.New("no responders")
			if err := c.Sure(t.Context()); !errors.Is(err, b.Err) || !c.Doubtful() {
				t.Errorf("a failed measurement returned %v; doubtful: %v", err, c.Doubtful())
			}
			b.Err, b.Asked = nil, 0
			for range 3 {
				if err := c.Sure(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if b.Asked != samples || c.Doubtful() || !c.Now().Equal(b.Broker()) {
				t.Errorf("asked %d times, doubtful: %v, behind by %s", b.Asked, c.Doubtful(), b.Broker().Sub(c.Now()))
			}
		})
	}
}

func TestClockMeasureFails(t *testing.T) {
	b := clocktest.NewFar(time.Minute)
	c := measured(t, b)
	b.Offset = 0
	b.Err = errors.New("no responders")
	if err := c.Measure(t.Context()); !errors.Is(err, b.Err) {
		t.Errorf("the error is %v, want the broker's in it", err)
	}
	b.Err, b.NoTime = nil, true
	if err := c.Measure(t.Context()); !errors.Is(err, ErrNoTime) {
		t.Errorf("without a time the error is %v, want %v", err, ErrNoTime)
	}
	if got := c.Offset(); got != time.Minute {
		t.Errorf("after failed measurements the offset is %s, want the last one", got)
	}
}

// Keep passes errors on, and the clock continues by the last measurement.
func TestClockKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := clocktest.NewFar(time.Minute)
		c := measured(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		failures, goOn, ended := make(chan error), make(chan struct{}), make(chan struct{})
		b.Err = errors.New("no responders")
		began := time.Now()
		go func() {
			defer close(ended)
			c.Keep(ctx, func(err error) {
				failures <- err
				<-goOn
			})
		}()
		if err := <-failures; !errors.Is(err, b.Err) || time.Since(began) != every {
			t.Errorf("after %s it failed with %v, want the broker's error after %s", time.Since(began), err, every)
		}
		b.Err, b.Offset = nil, time.Hour
		close(goOn)
		time.Sleep(every)
		synctest.Wait()
		if got := c.Offset(); got != time.Hour {
			t.Errorf("the offset is %s, want that of the next measurement", got)
		}
		cancel()
		<-ended
	})
}
