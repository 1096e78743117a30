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

// sameClock is the measured clock of a broker that goes by this process's.
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

// Whatever the offset, and however unevenly the delay of the answers is spread: a reservation is never for too early a
// moment, and it is never thought to fall due later than it does.
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
			t.Fatalf("seed %d: the wait is %s for a guidance of %s", seed, wait, interval)
		}
		if early := b.Broker().Add(wait).Sub(due); early > 0 {
			t.Fatalf("seed %d: the reservation is early by %s: delays %v there and %v back", seed, early, b.There,
				b.Back)
		} else if -early > slowest {
			t.Fatalf("seed %d: the reservation is late by %s, but no question took longer than %s", seed,
				-early, slowest)
		}
		trulyLocal := due.Add(-b.Offset)
		if late := r.cfg.Clock.Local(due).Sub(trulyLocal); late > 0 {
			t.Fatalf("seed %d: it is thought to fall due %s later than it does", seed, late)
		}
		asked := b.Local.Add(upTo(time.Hour))
		if early := asked.Add(b.Offset).Sub(r.cfg.Clock.At(asked)); early > 0 {
			t.Fatalf("seed %d: a reservation for a moment that the vendor named is early by %s", seed, early)
		}
	}
}

// A broker that is slow to store reservations makes them fall due later, by that much: otherwise every poll would be
// too late to be made.
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

// Whatever clocks the broker had, no poll is made less than an interval after the one before it; and none is held back
// by more than the steps, nor by more than an interval.
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
		interval := 3*time.Second + upTo(27*time.Second) // the slack of less does not bear answers that take so long
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
					if random.IntN(3) > 0 { // otherwise what falls due tells of it
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
			held := time.Duration(0)
			for wait := c.Early(wanted, fell, interval); wait > 0; wait = c.Early(wanted, fell, interval) {
				b.Local = b.Local.Add(wait)
				held += wait
			}
			if gap := b.Local.Sub(polled); gap < interval {
				t.Fatalf("seed %d: polled again after %s, the interval is %s", seed, gap, interval)
			}
			if held > interval || held > steps+time.Second {
				t.Fatalf("seed %d: held back for %s after steps of %s, the interval is %s", seed, held, steps, interval)
			}
		}
	}
}
