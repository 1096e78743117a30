package redelivery

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"statusworker/consumer/clock"
	"statusworker/consumer/clock/clocktest"
	"statusworker/schema"
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

// A reservation never falls due too early, whatever the offset of the clock is, and however the delays of the answers
// are distributed. Its request may be written up to one interval and the guard before.
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
		r := &Reservations{cfg: Config{Clock: measured(t, b), Now: b.Now}}
		b.Local = b.Local.Add(upTo(30 * time.Second))

		d := &Delivery{Interval: 50*time.Millisecond + upTo(30*time.Second)}
		var next reservation
		r.plan(d, &next, 0)
		due := r.cfg.Clock.Due(next.at)
		if early := next.at.Add(b.Offset).Sub(due.At); early > 0 {
			t.Fatalf("seed %d: the reservation is early by %s: delays %v there and %v back", seed, early, b.There,
				b.Back)
		} else if -early > slowest {
			t.Fatalf("seed %d: the reservation is late by %s, but no request took longer than %s", seed,
				-early, slowest)
		}
		if left, want := next.at.Sub(d.SendBy), d.Interval+minGuard; left != want {
			t.Fatalf("seed %d: the request may be written %s before the next poll is due, want %s", seed, left, want)
		}
		if left := d.SendBy.Sub(b.Local); left != allowanceMargin {
			t.Fatalf("seed %d: the request must be written within %s, want %s", seed, left, allowanceMargin)
		}
	}
}

// If the broker is slow to store reservations, or connections are slow, the next ones fall due later by that time.
// Otherwise every poll would be too late. A single long time has no effect.
func TestSlowWritesMakePollsRarer(t *testing.T) {
	b := clocktest.NewFar(0)
	r := &Reservations{cfg: Config{Clock: measured(t, b), Now: b.Now}}
	d := &Delivery{Interval: 5 * time.Second}
	wait := func() time.Duration {
		var next reservation
		r.plan(d, &next, 0)
		if left, want := next.at.Sub(d.SendBy), d.Interval+r.guard(d.Interval); left != want {
			t.Errorf("the request may be written %s before the next poll is due, want %s", left, want)
		}
		return next.at.Sub(b.Local)
	}
	shortest := wait()
	if want := d.Interval + allowanceMargin + minGuard; shortest != want {
		t.Errorf("the next poll is due after %s, want %s", shortest, want)
	}
	for _, u := range []*nearMax{&r.writes, &r.answers} {
		for range 20 {
			u.took(0)
		}
		if u.took(3 * time.Second); wait() != shortest {
			t.Errorf("after one long time the next poll is due after %s, want %s", wait(), shortest)
		}
		u.took(3 * time.Second)
		longest := 3 * time.Second
		if u == &r.answers {
			longest = longestGuard(d.Interval) - minGuard
		}
		if got := wait() - shortest; got != longest {
			t.Errorf("after two long times the next poll is due %s later, want %s", got, longest)
		}
		for range len(u.last) {
			u.took(0)
		}
		if got := wait() - shortest; got != 0 {
			t.Errorf("after many short times the next poll is due %s later, want 0", got)
		}
	}
}

// The guard is the time until an answer, within limits that depend on the interval.
func TestGuard(t *testing.T) {
	for _, tt := range []struct{ interval, answers, want time.Duration }{
		{30 * time.Second, 0, minGuard},
		{30 * time.Second, 300 * time.Millisecond, 300 * time.Millisecond},
		{30 * time.Second, time.Minute, maxGuard},
		{5 * time.Second, time.Minute, 500 * time.Millisecond},
		{time.Second, 300 * time.Millisecond, minGuard},
		{time.Hour, time.Hour, maxGuard},
	} {
		var r Reservations
		r.answers.took(tt.answers)
		if got := r.guard(tt.interval); got != tt.want {
			t.Errorf("with answers after %s the guard of %s is %s, want %s", tt.answers, tt.interval, got, tt.want)
		}
	}
}

// The header of a reservation has the due time, when it was made, and by which clock.
func TestDueHeader(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	for _, leader := range []string{"", "n1", "a name with spaces"} {
		due := clock.Due{At: at, Made: at.Add(-5105*time.Millisecond - 1), Leader: leader}
		h := broker.Header{}
		h.Set(schema.HeaderDue, writeDue(due))
		want := clock.Due{At: at, Made: at.Add(-5106 * time.Millisecond), Leader: leader}
		if got := readDue(h); got != want {
			t.Errorf("read %+v, want %+v", got, want)
		}
	}
	for _, invalid := range []string{"", "soon", "-1 n1", "99999999999999999999 n1", "9999999999999 n1"} {
		h := broker.Header{}
		h.Set(schema.HeaderDue, at.Format(time.RFC3339Nano)+" "+invalid)
		if got, want := readDue(h), (clock.Due{At: at}); got != want {
			t.Errorf("read %+v from %q, want %+v", got, invalid, want)
		}
		h.Set(schema.HeaderDue, invalid)
		if got := readDue(h); got != (clock.Due{}) {
			t.Errorf("read %+v from a due time of %q, want nothing", got, invalid)
		}
	}
}
