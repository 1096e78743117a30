package consumer

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// farBroker is a stream on a broker whose clock differs, and whose answers take their time both ways. Local time goes
// on only while it is asked.
type farBroker struct {
	jetstream.Stream
	local  time.Time
	offset time.Duration
	// there and back are how long each answer takes, one after the other.
	there, back []time.Duration
	asked       int
	err         error
	noStamp     bool
}

func (b *farBroker) now() time.Time { return b.local }

// broker is the true time of its clock.
func (b *farBroker) broker() time.Time { return b.local.Add(b.offset) }

func (b *farBroker) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	i := b.asked % len(b.there)
	b.asked++
	b.local = b.local.Add(b.there[i])
	stamp := b.broker().Round(0).UTC()
	b.local = b.local.Add(b.back[i])
	if b.noStamp {
		stamp = time.Time{}
	}
	return &jetstream.StreamInfo{TimeStamp: stamp}, b.err
}

func newFarBroker(offset time.Duration) *farBroker {
	return &farBroker{
		local: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), offset: offset,
		there: make([]time.Duration, clockSamples), back: make([]time.Duration, clockSamples),
	}
}

func measured(t *testing.T, b *farBroker) *brokerClock {
	t.Helper()
	c := &brokerClock{now: b.now}
	if err := c.measure(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClockOffset(t *testing.T) {
	for _, offset := range []time.Duration{0, time.Nanosecond, 3 * time.Second, -3 * time.Second, 25 * time.Hour, -25 * time.Hour} {
		b := newFarBroker(offset)
		c := measured(t, b)
		b.local = b.local.Add(20 * time.Second)
		if got := c.offset(); got != offset {
			t.Errorf("the offset is %s, want %s", got, offset)
		}
		if got := c.time(); !got.Equal(b.broker()) {
			t.Errorf("with an offset of %s the broker's time is %s, want %s", offset, got, b.broker())
		}
		later := b.local.Add(time.Minute)
		if got := c.at(later); !got.Equal(later.Add(offset)) {
			t.Errorf("with an offset of %s the broker's clock shows %s at %s, want %s", offset, got, later, later.Add(offset))
		}
		if got := c.local(later); !got.Equal(later.Add(-offset)) {
			t.Errorf("with an offset of %s it is %s here when the broker's clock shows %s, want %s", offset, got, later, later.Add(-offset))
		}
	}
}

// The quickest answer says most.
func TestClockKeepsTheQuickest(t *testing.T) {
	for quickest := range clockSamples {
		b := newFarBroker(-time.Second)
		for i := range clockSamples {
			b.there[i], b.back[i] = 400*time.Millisecond, 100*time.Millisecond
		}
		b.there[quickest], b.back[quickest] = 3*time.Millisecond, 200*time.Millisecond
		c := measured(t, b)
		if b.asked != clockSamples {
			t.Errorf("the broker was asked %d times, want %d", b.asked, clockSamples)
		}
		if ahead := c.time().Sub(b.broker()); ahead != 3*time.Millisecond {
			t.Errorf("with answer %d the quickest the clock is ahead by %s, want the 3ms that its question took", quickest, ahead)
		}
	}
}

// The next measurement fixes what a step of the broker's clock, or another leader's clock, did.
func TestClockBrokerSteps(t *testing.T) {
	b := newFarBroker(0)
	c := measured(t, b)
	for _, offset := range []time.Duration{time.Hour, -time.Hour, 0} {
		b.offset = offset
		b.local = b.local.Add(clockEvery)
		if err := c.measure(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if got := c.offset(); got != offset {
			t.Errorf("after a step of the broker's clock the offset is %s, want %s", got, offset)
		}
	}
}

// A step of this host's wall clock does nothing, because the mark keeps the monotonic reading, by which package time
// then subtracts. (It shows the reading as `m=`.)
func TestClockIsMonotonic(t *testing.T) {
	b := newFarBroker(0)
	c := &brokerClock{now: time.Now}
	if err := c.measure(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if local := c.mark.Load().local.String(); !strings.Contains(local, " m=") {
		t.Errorf("the mark's local time %s has no monotonic reading", local)
	}
	if local := c.local(b.broker()).String(); !strings.Contains(local, " m=") {
		t.Errorf("the local time %s, to be compared with now, has no monotonic reading", local)
	}
}

// A clock that may be behind is measured before anything hangs on it, once, and never set by a stamp that may be old.
func TestClockInDoubt(t *testing.T) {
	for name, doubt := range map[string]func(b *farBroker, c *brokerClock, wall *time.Duration){
		"the monotonic clock stood still": func(b *farBroker, _ *brokerClock, wall *time.Duration) {
			b.offset, *wall = b.offset+3*time.Second, 3*time.Second
		},
		"the wall clock was set back": func(_ *farBroker, _ *brokerClock, wall *time.Duration) { *wall = -time.Hour },
		"a stamp that is ahead": func(b *farBroker, c *brokerClock, _ *time.Duration) {
			b.offset += 3 * time.Second
			c.notice(b.broker().Add(-time.Second))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFarBroker(time.Minute)
			var wall time.Duration
			c := &brokerClock{now: b.now, wall: func() time.Time { return b.local.Add(wall) }}
			if err := c.measure(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			b.local = b.local.Add(20 * time.Second)
			wall = clockSteps / 2
			c.notice(b.broker())
			if c.doubtful() {
				t.Fatal("it is doubtful already")
			}
			doubt(b, c, &wall)
			before := c.mark.Load()
			if !c.doubtful() || c.mark.Load() != before {
				t.Errorf("doubtful: %v, set without a measurement: %v", c.doubtful(), c.mark.Load() != before)
			}
			b.err = errors.New("no responders")
			if err := c.sure(t.Context(), b); !errors.Is(err, b.err) || !c.doubtful() {
				t.Errorf("a measurement that failed gave %v; doubtful: %v", err, c.doubtful())
			}
			b.err, b.asked = nil, 0
			for range 3 {
				if err := c.sure(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			if b.asked != clockSamples || c.doubtful() || !c.time().Equal(b.broker()) {
				t.Errorf("asked %d times, doubtful: %v, behind by %s", b.asked, c.doubtful(), b.broker().Sub(c.time()))
			}
		})
	}
}

func TestClockMeasureFails(t *testing.T) {
	b := newFarBroker(time.Minute)
	c := measured(t, b)
	b.offset = 0
	b.err = errors.New("no responders")
	if err := c.measure(t.Context(), b); !errors.Is(err, b.err) {
		t.Errorf("the error is %v, want the broker's in it", err)
	}
	b.err, b.noStamp = nil, true
	if err := c.measure(t.Context(), b); err == nil || !strings.Contains(err.Error(), "2.10") {
		t.Errorf("without a time stamp the error is %v, want it to name the version that gives one", err)
	}
	if got := c.offset(); got != time.Minute {
		t.Errorf("after failed measurements the offset is %s, want the last one", got)
	}
}

// Whatever the offset, and however unevenly the delay of the answers is spread: a reservation is never for too early a
// moment, and it is never thought to fall due later than it does.
func TestClockIsNeverEarly(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	for range 5000 {
		b := newFarBroker(upTo(20*time.Hour) - 10*time.Hour)
		slowest := time.Duration(0)
		for i := range clockSamples {
			scale := []time.Duration{2, time.Millisecond, time.Second, 4 * time.Second}[random.IntN(4)]
			b.there[i], b.back[i] = upTo(scale), upTo(scale)
			slowest = max(slowest, b.there[i])
		}
		r := &reservations{clock: measured(t, b), cfg: Config{Jitter: random.Float64}}
		b.local = b.local.Add(upTo(clockEvery))

		interval := 50*time.Millisecond + upTo(30*time.Second)
		due := r.due(interval, interval)
		wait := due.Sub(r.clock.time())
		if wait < interval+minSlack || wait > interval+maxSlack+interval/20 {
			t.Fatalf("seed %d: the wait is %s for a guidance of %s", seed, wait, interval)
		}
		if early := b.broker().Add(wait).Sub(due); early > 0 {
			t.Fatalf("seed %d: the reservation is early by %s: delays %v there and %v back", seed, early, b.there, b.back)
		} else if -early > slowest {
			t.Fatalf("seed %d: the reservation is late by %s, but no question took longer than %s", seed, -early, slowest)
		}
		trulyLocal := due.Add(-b.offset)
		if late := r.clock.local(due).Sub(trulyLocal); late > 0 {
			t.Fatalf("seed %d: it is thought to fall due %s later than it does", seed, late)
		}
		asked := b.local.Add(upTo(time.Hour))
		if early := asked.Add(b.offset).Sub(r.clock.at(asked)); early > 0 {
			t.Fatalf("seed %d: a reservation for a moment that the vendor named is early by %s", seed, early)
		}
	}
}

// A broker that is slow to store reservations makes them fall due later, by that much: otherwise every poll would be
// too late to be made.
func TestSlowBrokerMakesPollsRarer(t *testing.T) {
	r := &reservations{clock: measured(t, newFarBroker(0)), cfg: Config{Jitter: func() float64 { return 0 }}}
	wait := func() time.Duration { return r.due(5*time.Second, 5*time.Second).Sub(r.clock.time()) }
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

// What was reserved before the broker's clock was stepped forward falls due too soon by it, and waits for as long as
// that. What is reserved afterwards does not wait, and nothing does where clocks only drift or answers are slow.
func TestClockEarly(t *testing.T) {
	const interval, wait = 5 * time.Second, 5500 * time.Millisecond
	for name, tt := range map[string]struct {
		steps []time.Duration // of the broker's clock, one after the other, each measured
		slow  time.Duration   // the answers after it
		want  time.Duration
	}{
		"no step":            {nil, 0, 0},
		"drift":              {[]time.Duration{10 * time.Millisecond}, 0, 0},
		"slow answers":       {[]time.Duration{0}, 3 * time.Second, 0},
		"back":               {[]time.Duration{-3 * time.Second}, 0, 0},
		"forward":            {[]time.Duration{2 * time.Second}, 0, 2 * time.Second},
		"forward and back":   {[]time.Duration{2 * time.Second, -2 * time.Second}, 0, 0},
		"forward twice":      {[]time.Duration{time.Second, 2 * time.Second}, 0, 3 * time.Second},
		"by more than it is": {[]time.Duration{time.Hour}, 0, interval},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFarBroker(0)
			c := measured(t, b)
			wanted := c.time().Add(wait)
			for _, step := range tt.steps {
				b.offset += step
				for i := range b.there {
					b.there[i] = tt.slow
				}
				if err := c.measure(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			for i := range b.there {
				b.there[i] = 0
			}
			if left := wanted.Sub(b.broker()); left > 0 { // it falls due, unless it is due already
				b.local = b.local.Add(left)
			}
			fell := b.broker()
			if got := c.early(wanted, fell, interval); (got - tt.want).Abs() > time.Millisecond {
				t.Errorf("it waits for %s, want %s", got, tt.want)
			}
			b.local = b.local.Add(tt.want)
			if got := c.early(wanted, fell, interval); got != 0 {
				t.Errorf("having waited it waits for %s more", got)
			}
			if got := c.early(time.Time{}, fell, interval); got != 0 {
				t.Errorf("where nobody knows when it was wanted it waits for %s", got)
			}
			after := c.time().Add(wait)
			b.local = b.local.Add(wait)
			if got := c.early(after, b.broker(), interval); got != 0 {
				t.Errorf("what was reserved afterwards waits for %s", got)
			}
		})
	}
}

// Whatever clocks the broker had, no poll is made less than an interval after the one before it; and none is held back
// by more than the steps, nor by more than an interval.
func TestClockStepsMakeNoPollEarly(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	for range 2000 {
		b := newFarBroker(upTo(time.Hour) - 30*time.Minute)
		for i := range b.there {
			b.there[i], b.back[i] = upTo(100*time.Millisecond), upTo(100*time.Millisecond)
		}
		c := measured(t, b)
		interval := 3*time.Second + upTo(27*time.Second) // the slack of less does not bear answers that take so long
		r := &reservations{clock: c, cfg: Config{Jitter: random.Float64}}
		steps := time.Duration(0)
		for polls := 0; polls < 20; polls++ {
			polled := b.local
			wanted := r.due(interval, interval)
			for b.broker().Before(wanted) {
				b.local = b.local.Add(min(wanted.Sub(b.broker()), upTo(2*time.Second)+1))
				if random.IntN(8) == 0 {
					step := upTo(6*time.Second) - 3*time.Second
					b.offset += step
					steps += max(0, step)
					if random.IntN(3) > 0 { // otherwise what falls due tells of it
						if err := c.measure(t.Context(), b); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			fell := b.broker()
			if c.notice(fell); c.doubtful() {
				if err := c.sure(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			held := time.Duration(0)
			for wait := c.early(wanted, fell, interval); wait > 0; wait = c.early(wanted, fell, interval) {
				b.local = b.local.Add(wait)
				held += wait
			}
			if gap := b.local.Sub(polled); gap < interval {
				t.Fatalf("seed %d: polled again after %s, the interval is %s", seed, gap, interval)
			}
			if held > interval || held > steps+time.Second {
				t.Fatalf("seed %d: held back for %s after steps of %s, the interval is %s", seed, held, steps, interval)
			}
		}
	}
}

// Where this process stood still, its measurements from before tell nothing about the broker's clock.
func TestClockForgetsWhatWasBeforeAStandstill(t *testing.T) {
	b := newFarBroker(0)
	var wall time.Duration
	c := &brokerClock{now: b.now, wall: func() time.Time { return b.local.Add(wall) }}
	measure := func() {
		t.Helper()
		if err := c.measure(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	measure()
	wanted := c.time().Add(6 * time.Second)
	b.offset, wall = 5*time.Second, 5*time.Second // both went on for 5 s while the monotonic clock did not
	measure()
	b.local = b.local.Add(time.Second)
	if got := c.early(wanted, b.broker(), 5*time.Second); got != 0 {
		t.Errorf("it waits for %s", got)
	}
	if n, step := c.stepped(); n != 0 || step != 0 {
		t.Errorf("%d steps, the last of %s", n, step)
	}
	b.offset += 3 * time.Second
	measure()
	if n, step := c.stepped(); n != 1 || step != 3*time.Second {
		t.Errorf("%d steps, the last of %s, want one of 3s", n, step)
	}
}
