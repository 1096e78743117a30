package redelivery

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"statusworker/schema"
	"statusworker/schema/lifecycle"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
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

// handClock is a clock that the test sets.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// An interaction is pending for a day. The client polls it at the times that the worker reserves, on a clock that jumps
// from one to the next. The simulator counts the polls, and records the age of the interaction at each of them.
func TestStretchADay(t *testing.T) {
	for _, tt := range []struct {
		typ         schema.Type
		stretch     float64
		limit       time.Duration
		least, most int
	}{
		{schema.Audio, 0, 10 * time.Minute, 2700, 2880},
		{schema.Audio, 0.1, 10 * time.Minute, 165, 180},
		{schema.Audio, 0.1, 24 * time.Hour, 65, 72},
		{schema.Chat, 0, 10 * time.Minute, 13500, 17280},
		{schema.Chat, 0.1, 10 * time.Minute, 185, 200},
		{schema.Chat, 0.1, 24 * time.Hour, 80, 92},
	} {
		t.Run(fmt.Sprintf("%s %v, at most %s", tt.typ, tt.stretch, tt.limit), func(t *testing.T) {
			t.Parallel()
			const id = "bd5c92f3-c228-44a6-91bf-b52672569878"
			declared := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			clock := &handClock{now: declared}
			vendor, err := simulator.Start(simulator.Config{Now: clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			defer vendor.Close()
			vendor.Declare(id, simulator.Never())
			client, err := statusclient.New(statusclient.Config{
				BaseURL: vendor.URL(), Token: simulator.DefaultToken, Now: clock.Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			interval := 30 * time.Second
			if tt.typ == schema.Chat {
				interval = 5 * time.Second
			}
			r := &Reservations{cfg: Config{
				Clock: sameClock(t, clock.Now), Now: clock.Now, Jitter: rand.Float64,
				Stretch: tt.stretch, StretchLimit: tt.limit,
			}}
			d := &Delivery{Type: tt.typ, Interval: interval, At: lifecycle.Position{Generation: declared}}

			due := r.due(d.Interval, d.Interval)
			for {
				clock.set(due)
				due = r.due(d.Interval, r.wait(d))
				if _, err := client.Status(t.Context(), id, time.Time{}); err != nil {
					t.Fatal(err)
				}
				if r.cfg.Clock.Now().Sub(declared) > 24*time.Hour {
					break
				}
			}
			n := vendor.Count()
			t.Logf("%d polls in a day", n)
			if n < tt.least || n > tt.most {
				t.Errorf("%d polls, want %d to %d", n, tt.least, tt.most)
			}
			polls := vendor.Polls()
			for i := range polls[1:] {
				age, gap := polls[i].At.Sub(declared), polls[i+1].At.Sub(polls[i].At)
				wait := Wait(d.Interval, age, tt.stretch, tt.limit)
				// Beside the wait: slack and jitter.
				if most := wait + MaxSlack + d.Interval/20; gap < wait || gap > most {
					t.Fatalf("poll %d came %s after the one at the age of %s, want %s to %s", i+2, gap, age, wait, most)
				}
			}
		})
	}
}
