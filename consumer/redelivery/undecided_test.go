package redelivery

import (
	"testing"
	"time"

	"statusworker/schema/lifecycle"
)

// Messages that wait for an outcome are redelivered after a poll, but ever less often: otherwise thousands of them
// would keep the intake from new messages.
func TestWaitForAnOutcomeGrowsWithAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := NewReservations(Config{Clock: sameClock(t, func() time.Time { return now }),
		Now: func() time.Time { return now }})
	const interval, until = 5 * time.Second, 3 * time.Second
	looks := 0
	d := &Delivery{Interval: interval}
	d.At.Generation = now
	for end := now.Add(24 * time.Hour); now.Before(end); looks++ {
		wait := r.waitFor(lifecycle.Undecided, now.Add(until), d)
		if age := now.Sub(d.At.Generation); wait < until || wait > max(until+polledWithin, age/undecidedDivisor) {
			t.Fatalf("at the age of %s it waits for %s", age, wait)
		}
		if wait > maxUndecided {
			t.Fatalf("it waits for %s", wait)
		}
		now = now.Add(wait)
	}
	if looks > 350 {
		t.Errorf("%d deliveries in a day", looks)
	}
	late := now.Add(10 * time.Minute)
	for verdict, want := range map[lifecycle.TakeIn]time.Duration{
		lifecycle.Wait:      10*time.Minute + tombstoneGone,
		lifecycle.Undecided: 10*time.Minute + polledWithin,
	} {
		if got := r.waitFor(verdict, late, d); got != want {
			t.Errorf("with %s it waits for %s, want %s", verdict, got, want)
		}
	}
}
