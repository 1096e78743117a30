package redelivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema/broker"
)

// world has servers whose clocks differ, one of which leads, and workers on hosts whose clocks differ, too. Time passes
// only by advance, and while a worker measures.
type world struct {
	*rand.Rand
	t       *testing.T
	seed    uint64
	now     time.Time
	leader  int
	offsets []time.Duration // of the servers' clocks
	workers []*host
	last    time.Time // poll at the vendor
	steady  time.Time // until when leaders do not change and no worker starts: a server's clock was set
	changed time.Time // when the leader changed
	events  []string
}

// host is a worker.
type host struct {
	*world
	skew     time.Duration
	measured time.Time // last
	r        *Reservations
}

// farApart is the largest difference between a server's clock and the true time.
const farApart = 300 * time.Millisecond

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 0)), t: t, seed: seed,
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	for range 3 {
		w.offsets = append(w.offsets, w.upTo(2*farApart)-farApart)
	}
	for range 2 + w.IntN(3) {
		w.start()
	}
	return w
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.Int64N(int64(d) + 1)) }

func (w *world) note(format string, args ...any) {
	w.events = append(w.events, w.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// broker is the leader's time.
func (w *world) broker() time.Time { return w.now.Add(w.offsets[w.leader]) }

// Stream implements [clock.Broker].
func (h *host) Stream(context.Context, string) (broker.StreamState, error) {
	h.now = h.now.Add(h.upTo(5 * time.Millisecond))
	state := broker.StreamState{Now: h.broker(), Leader: fmt.Sprint("n", h.leader)}
	h.now = h.now.Add(h.upTo(5 * time.Millisecond))
	return state, nil
}

// start starts a worker.
func (w *world) start() {
	h := &host{world: w, skew: w.upTo(2*time.Hour) - time.Hour}
	local := func() time.Time { return w.now.Add(h.skew) }
	h.r = NewReservations(Config{Clock: clock.New(local, h, "S"), Now: local})
	h.measure()
	w.workers = append(w.workers, h)
	w.note("worker %d starts", len(w.workers))
}

func (h *host) measure() {
	if err := h.r.cfg.Clock.Measure(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	h.measured = h.now
}

// advance lets time pass. Workers measure the clock every ten seconds. Leaders change, workers start and stop, and
// clocks are set, at any time.
func (w *world) advance(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(min(end.Sub(w.now), w.upTo(500*time.Millisecond)))
		for _, h := range w.workers {
			if w.now.Sub(h.measured) > 10*time.Second {
				h.measure()
			}
		}
		switch w.IntN(120) {
		case 0, 1, 2:
			if w.now.After(w.steady) {
				w.leader, w.changed = w.IntN(len(w.offsets)), w.now
				w.note("n%d leads, %s ahead", w.leader, w.offsets[w.leader])
			}
		case 3, 4:
			if w.now.After(w.steady) {
				w.start()
			}
		case 5, 6:
			if i := w.IntN(len(w.workers)); len(w.workers) > 1 {
				w.workers = append(w.workers[:i:i], w.workers[i+1:]...)
			}
		case 7:
			// The clock of a server is set, perhaps more than once. Package clock describes what no worker can know if
			// the leader changes, or a worker starts, at about that time.
			const about = 40 * time.Second
			if w.now.Sub(w.changed) > about {
				n := w.IntN(len(w.offsets))
				w.offsets[n] = w.upTo(2*farApart) - farApart
				w.steady = w.now.Add(about)
				w.note("n%d is set to %s ahead", n, w.offsets[n])
			}
		}
	}
}

// reserveAndPoll reserves the next poll by any worker and polls, as late as allowed or earlier.
func (w *world) reserveAndPoll(interval time.Duration) (due clock.Due) {
	h := w.workers[w.IntN(len(w.workers))]
	return h.poll(interval)
}

func (h *host) poll(interval time.Duration) (due clock.Due) {
	d := &Delivery{Interval: interval}
	var next reservation
	h.r.plan(d, &next, 0)
	due = h.r.cfg.Clock.Due(next.at)
	left := d.SendBy.Sub(h.r.cfg.Now())
	sent := []time.Duration{0, left, h.upTo(left)}[h.IntN(3)]
	arrived := h.now.Add(sent + h.upTo(minGuard))
	if gap := arrived.Sub(h.last); !h.last.IsZero() && gap < interval {
		h.t.Errorf("seed %d: polled again after %s, the interval is %s", h.seed, gap, interval)
		for _, e := range h.events {
			h.t.Log(e)
		}
		h.t.FailNow()
	}
	h.last = arrived
	h.note("polled, the next one at %s by %q", due.At.Format("15:04:05.000"), due.Leader)
	return due
}

// Polls of an interaction, each by any of some workers, are never closer than the interval, although the clocks of the
// servers are far apart, leaders change, workers start, and clocks are set at any time. They are not much further apart
// either.
func TestClockOfLeadersApart(t *testing.T) {
	base := rand.Uint64()
	waited, polls := time.Duration(0), 0
	for n := range uint64(300) {
		w := newWorld(t, base+n)
		interval := []time.Duration{3 * time.Second, 5 * time.Second, 30 * time.Second}[w.IntN(3)]
		due := w.reserveAndPoll(interval)
		for range 30 {
			for w.broker().Before(due.At) {
				w.advance(min(due.At.Sub(w.broker()), 50*time.Millisecond))
			}
			fell := w.broker()
			w.advance(w.upTo(280 * time.Millisecond)) // until it is delivered
			h := w.workers[w.IntN(len(w.workers))]
			c := h.r.cfg.Clock
			if c.Notice(fell); c.Doubtful() {
				h.measure()
			}
			began := w.now
			for wait := c.Early(due, fell, interval); wait > 0; wait = c.Early(due, fell, interval) {
				w.now = w.now.Add(wait)
			}
			if wait := w.now.Sub(began); wait > 4*farApart+clock.MaxApart {
				t.Fatalf("seed %d: a poll waits for %s", w.seed, wait)
			}
			waited, polls = waited+w.now.Sub(began), polls+1
			due = h.poll(interval)
		}
	}
	t.Logf("%d polls waited for %s on average", polls, waited/time.Duration(polls))
}
