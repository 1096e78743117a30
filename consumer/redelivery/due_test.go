package redelivery

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"statusworker/consumer/clock"
	"statusworker/consumer/clock/clocktest"
	"statusworker/schema/broker"
)

// measured is the measured clock of a broker.
func measured(t *testing.T, b *clocktest.Far) *clock.Clock {
	t.Helper()
	c := clock.New(b.Now, b, "S")
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// sameClock is the measured clock of a broker with this process's clock.
func sameClock(t *testing.T, now func() time.Time) *clock.Clock {
	t.Helper()
	c := clock.New(now, timeOf(now), "S")
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

type timeOf func() time.Time

func (now timeOf) Stream(context.Context, string) (broker.StreamState, error) {
	return broker.StreamState{Now: now()}, nil
}

// A reservation never falls due too early, and its local due time is never later than the true one, whatever the offset
// of the clock is, and however the delays of the answers are distributed.
func TestClockIsNeverEarly(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	for range 5000 {
		b := clocktest.NewFar(upTo(20*time.Hour) - 10*time.Hour)
		slowest := time.Duration(0)
		for i := range b.There {
			scale := []time.Duration{2, time.Millisecond, time.Second, 4 * time.Second}[random.IntN(4)]
			b.There[i], b.Back[i] = upTo(scale), upTo(scale)
			slowest = max(slowest, b.There[i])
		}
		r := &Reservations{cfg: Config{Clock: measured(t, b), Jitter: random.Float64}}
		b.Local = b.Local.Add(upTo(30 * time.Second))

		interval := 50*time.Millisecond + upTo(30*time.Second)
		due := r.due(interval, interval)
		wait := due.Sub(r.cfg.Clock.Now())
		if wait < interval+minSlack || wait > interval+MaxSlack+interval/20 {
			t.Fatalf("seed %d: the wait is %s for an interval of %s", seed, wait, interval)
		}
		if early := b.Broker().Add(wait).Sub(due); early > 0 {
			t.Fatalf("seed %d: the reservation is early by %s: delays %v there and %v back", seed, early, b.There,
				b.Back)
		} else if -early > slowest {
			t.Fatalf("seed %d: the reservation is late by %s, but no request took longer than %s", seed,
				-early, slowest)
		}
		trulyLocal := due.Add(-b.Offset)
		if late := r.cfg.Clock.Local(due).Sub(trulyLocal); late > 0 {
			t.Fatalf("seed %d: its local due time is %s later than the true one", seed, late)
		}
		asked := b.Local.Add(upTo(time.Hour))
		if early := asked.Add(b.Offset).Sub(r.cfg.Clock.At(asked)); early > 0 {
			t.Fatalf("seed %d: a reservation for a Retry-After is early by %s", seed, early)
		}
	}
}

// If the broker is slow to store reservations, they fall due later by that time. Otherwise every poll would be too
// late.
func TestSlowBrokerMakesPollsRarer(t *testing.T) {
	r := &Reservations{cfg: Config{Clock: measured(t, clocktest.NewFar(0)), Jitter: func() float64 { return 0 }}}
	wait := func() time.Duration { return r.due(5*time.Second, 5*time.Second).Sub(r.cfg.Clock.Now()) }
	usual := wait()
	r.took(3 * time.Second)
	if got := wait() - usual; got != 3*time.Second {
		t.Errorf("after 3 s for a reservation the next one falls due %s later, want 3 s", got)
	}
	for range 100 {
		r.took(time.Millisecond)
	}
	if got := wait() - usual; got > 10*time.Millisecond {
		t.Errorf("after a hundred quick reservations the next one still falls due %s later", got)
	}
}

// No poll is made less than an interval after the one before it, whatever clocks the broker had. None waits longer than
// the steps of the clock, nor longer than an interval.
func TestClockStepsMakeNoPollEarly(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	for range 2000 {
		b := clocktest.NewFar(upTo(time.Hour) - 30*time.Minute)
		for i := range b.There {
			b.There[i], b.Back[i] = upTo(100*time.Millisecond), upTo(100*time.Millisecond)
		}
		c := measured(t, b)
		interval := 3*time.Second + upTo(27*time.Second) // the slack of a shorter one does not cover such slow answers
		r := &Reservations{cfg: Config{Clock: c, Jitter: random.Float64}}
		steps := time.Duration(0)
		for polls := 0; polls < 20; polls++ {
			polled := b.Local
			wanted := r.due(interval, interval)
			for b.Broker().Before(wanted) {
				b.Local = b.Local.Add(min(wanted.Sub(b.Broker()), upTo(2*time.Second)+1))
				if random.IntN(8) == 0 {
					step := upTo(6*time.Second) - 3*time.Second
					b.Offset += step
					steps += max(0, step)
					if random.IntN(3) > 0 { // otherwise a due message shows the step
						if err := c.Measure(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			fell := b.Broker()
			if c.Notice(fell); c.Doubtful() {
				if err := c.Sure(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			waited := time.Duration(0)
			for wait := c.Early(wanted, fell, interval); wait > 0; wait = c.Early(wanted, fell, interval) {
				b.Local = b.Local.Add(wait)
				waited += wait
			}
			if gap := b.Local.Sub(polled); gap < interval {
				t.Fatalf("seed %d: polled again after %s, the interval is %s", seed, gap, interval)
			}
			if waited > interval || waited > steps+time.Second {
				t.Fatalf("seed %d: waited for %s after steps of %s, the interval is %s", seed, waited, steps, interval)
			}
		}
	}
}
