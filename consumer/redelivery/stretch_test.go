package redelivery

import (
	"fmt"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

func TestWait(t *testing.T) {
	const s, limit = time.Second, 10 * time.Minute
	for _, tt := range []struct {
		interval, age time.Duration
		stretch       float64
		limit, want   time.Duration
	}{
		{30 * s, 24 * time.Hour, 0, limit, 30 * s},
		{30 * s, 0, 0.1, limit, 30 * s},
		{30 * s, -time.Hour, 0.1, limit, 30 * s}, // clocks of two leaders
		{30 * s, 300 * s, 0.1, limit, 30 * s},
		{30 * s, 400 * s, 0.1, limit, 40 * s},
		{5 * s, time.Hour, 0.1, limit, 6 * time.Minute},
		{5 * s, 2 * time.Hour, 0.1, limit, limit},
		{30 * s, 24 * time.Hour, 0.1, 24 * time.Hour, 144 * time.Minute},
		{time.Hour, 24 * time.Hour, 0.1, limit, time.Hour}, // the limit does not shorten an interval
	} {
		if got := Wait(tt.interval, tt.age, tt.stretch, tt.limit); got != tt.want {
			t.Errorf("Wait(%s, %s, %v, %s) is %s, want %s", tt.interval, tt.age, tt.stretch, tt.limit, got, tt.want)
		}
	}
}

// An interaction is pending for a day. It is polled at the times that the worker reserves, on a clock that jumps from
// one to the next.
func TestStretchADay(t *testing.T) {
	for _, tt := range []struct {
		typ         schema.Type
		interval    time.Duration
		stretch     float64
		limit       time.Duration
		least, most int
	}{
		{schema.Audio, 30 * time.Second, 0, 10 * time.Minute, 2700, 2880},
		{schema.Audio, 30 * time.Second, 0.1, 10 * time.Minute, 165, 180},
		{schema.Audio, 30 * time.Second, 0.1, 24 * time.Hour, 65, 72},
		{schema.Chat, 5 * time.Second, 0, 10 * time.Minute, 13500, 17280},
		{schema.Chat, 5 * time.Second, 0.1, 10 * time.Minute, 185, 200},
		{schema.Chat, 5 * time.Second, 0.1, 24 * time.Hour, 80, 92},
	} {
		t.Run(fmt.Sprintf("%s %v, at most %s", tt.typ, tt.stretch, tt.limit), func(t *testing.T) {
			declared := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			now := declared
			clock := func() time.Time { return now }
			r := &Reservations{cfg: Config{
				Clock: sameClock(t, clock), Now: clock,
				Stretch: tt.stretch, StretchLimit: tt.limit,
			}}
			d := &Delivery{Type: tt.typ, Interval: tt.interval, At: lifecycle.Position{Generation: declared}}
			polls := 0
			next := reservation{at: declared.Add(d.Interval)}
			for ; next.at.Sub(declared) <= 24*time.Hour; polls++ {
				now = next.at
				r.plan(d, &next, 0)
				age, gap := now.Sub(declared), next.at.Sub(now)
				wait := Wait(d.Interval, age, tt.stretch, tt.limit)
				// Besides the wait there are the allowance and the guard.
				if most := wait + allowanceMargin + minGuard; gap < wait || gap > most {
					t.Fatalf("at the age of %s the next poll comes after %s, want %s to %s", age, gap, wait, most)
				}
			}
			t.Logf("%d polls in a day", polls)
			if polls < tt.least || polls > tt.most {
				t.Errorf("%d polls, want %d to %d", polls, tt.least, tt.most)
			}
		})
	}
}
