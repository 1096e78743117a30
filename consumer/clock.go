package consumer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// brokerClock knows the broker's time, by which reservations fall due. It is measured against the time stamp in the
// broker's answers, and counts on from there by this process's monotonic clock, so a step of either wall clock is
// fixed by the next measurement. A local one forward may leave out a poll that was just about to be made: it looks as
// if the machine had been suspended.
//
// The broker made the stamp between the request and the answer. The clock takes it to have been made at the request:
// its idea of the broker's time is then never behind the truth, so a reservation is never made for too early a moment.
//
// While a machine is suspended, its monotonic clock stands still. What is due then makes the clock measure anew before
// it is reserved by it, see sure.
//
// What was reserved before the broker's clock was stepped forward, or another server with a clock that is ahead took
// the lead, falls due too soon. A worker that has measured the clock before knows: see early.
type brokerClock struct {
	now  func() time.Time
	wall func() time.Time // nil is now's; only its steps count
	mark atomic.Pointer[mark]
	// behind says that a stamp of the broker showed the clock to be so.
	behind atomic.Bool
	turn   sync.Mutex

	keep sync.Mutex // of what follows, to change it
	// slower are the measurements from before a step forward: by them the broker's clock would show less now.
	slower atomic.Pointer[[]mark]
	steps  atomic.Uint64
	step   atomic.Int64 // the last one, in nanoseconds
}

type mark struct {
	local, broker time.Time
	wall          time.Time     // at local
	took          time.Duration // the answer
	until         time.Time     // by the next measurement, which is in its place since then
}

// at is what the broker's clock shows, by this measurement, when this process's clock shows t.
func (m mark) at(t time.Time) time.Time { return m.broker.Add(t.Sub(m.local)) }

const (
	clockEvery   = 30 * time.Second
	clockSamples = 3
	// clockSteps is how far this host's two clocks may part before the broker is asked again. It is well within the
	// slack, and more than NTP makes them part between two measurements.
	clockSteps = minSlack / 4
	// minClockStep is how far two measurements of the broker's clock must be apart to be a step of it: more than NTP
	// slews it between them, and no more than the half slack that a reservation keeps for such things.
	minClockStep = minSlack / 2
	// A step forward is remembered for so long, and no more than so many of them. What fell due by it is polled by then.
	keepSlower = 10 * time.Minute
	maxSlower  = 8
)

// measure asks the leader of a stream for its time and keeps the quickest of a few answers.
func (c *brokerClock) measure(ctx context.Context, stream jetstream.Stream) error {
	var best mark
	var quickest time.Duration
	for range clockSamples {
		asked := c.now()
		info, err := stream.Info(ctx)
		if err != nil {
			return fmt.Errorf("reading the broker's clock: %w", err)
		}
		took := c.now().Sub(asked)
		if info.TimeStamp.IsZero() {
			return fmt.Errorf("reading the broker's clock: the answer has no time stamp; nats-server 2.10 or newer gives one")
		}
		if best.local.IsZero() || took < quickest {
			best, quickest = mark{local: asked, broker: info.TimeStamp, took: took, wall: c.wallAt(asked)}, took
		}
	}
	c.replace(best)
	c.behind.Store(false)
	return nil
}

// replace puts a measurement in the place of the last one.
func (c *brokerClock) replace(best mark) {
	c.keep.Lock()
	defer c.keep.Unlock()
	old := c.mark.Swap(&best)
	if old == nil {
		return
	}
	if c.parted(*old) { // this process's clock has not gone on all the time: measurements from before tell nothing
		c.slower.Store(nil)
		return
	}
	now := c.now()
	if step := best.at(now).Sub(old.at(now)); step-best.took > minClockStep || step+old.took < -minClockStep {
		c.steps.Add(1)
		c.step.Store(int64(step))
	}
	old.until = best.broker
	var slower []mark
	for _, m := range append(c.slowerOnes(), *old) {
		if best.at(now).Sub(m.at(now)) > minClockStep && best.broker.Sub(m.until) < keepSlower {
			slower = append(slower, m)
		}
	}
	if len(slower) == 0 {
		c.slower.Store(nil)
		return
	}
	slower = slower[max(0, len(slower)-maxSlower):]
	c.slower.Store(&slower)
}

func (c *brokerClock) slowerOnes() []mark {
	if p := c.slower.Load(); p != nil {
		return slices.Clone(*p)
	}
	return nil
}

// early says for how long a poll still has to wait, or 0. It fell due at one time and was wanted at another, both by
// the broker's clock. Who reserved it may have gone by any clock that the broker has had since one interval before the
// wanted time: all of them must have reached that. An interval after it fell due no poll is early, whatever they show.
func (c *brokerClock) early(wanted, fell time.Time, interval time.Duration) time.Duration {
	p := c.slower.Load()
	if p == nil || wanted.IsZero() {
		return 0
	}
	now := c.now()
	slowest := c.at(now)
	for _, m := range *p {
		if t := m.at(now); m.until.After(wanted.Add(-interval)) && t.Before(slowest) {
			slowest = t
		}
	}
	wait := min(wanted.Sub(slowest), fell.Add(interval).Sub(c.at(now)))
	if wait <= minClockStep {
		return 0
	}
	return wait
}

// stepped is how many steps there were, and the last one.
func (c *brokerClock) stepped() (uint64, time.Duration) {
	return c.steps.Load(), time.Duration(c.step.Load())
}

// wallAt is what this host's wall clock shows when now says t.
func (c *brokerClock) wallAt(t time.Time) time.Time {
	if c.wall == nil {
		return t.Round(0)
	}
	return c.wall()
}

// notice takes in that the broker's clock showed t a moment ago.
func (c *brokerClock) notice(t time.Time) {
	if t.After(c.time()) {
		c.behind.Store(true)
	}
}

// doubtful tells whether the clock may be behind: this process stood still (a suspended machine), the wall clock was set,
// or another leader's clock is ahead.
func (c *brokerClock) doubtful() bool {
	return c.behind.Load() || c.parted(*c.mark.Load())
}

// parted tells whether this host's two clocks do not show the same time since a measurement.
func (c *brokerClock) parted(m mark) bool {
	now := c.now()
	steps := c.wallAt(now).Sub(m.wall) - now.Sub(m.local)
	return steps.Abs() > clockSteps
}

// sure measures the clock, unless it is doubtful no more: others have measured it meanwhile.
func (c *brokerClock) sure(ctx context.Context, stream jetstream.Stream) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	if !c.doubtful() || ctx.Err() != nil {
		return ctx.Err()
	}
	return c.measure(ctx, stream)
}

// time is the broker's time now, or a little later.
func (c *brokerClock) time() time.Time {
	m := c.mark.Load()
	return m.broker.Add(c.now().Sub(m.local))
}

// local is when the broker's clock shows t, or a little earlier, by this process's clock.
func (c *brokerClock) local(t time.Time) time.Time {
	m := c.mark.Load()
	return m.local.Add(t.Sub(m.broker))
}

// offset is how far the broker's clock is ahead of this process's wall clock.
func (c *brokerClock) offset() time.Duration { return c.time().Sub(c.now().Round(0)) }

// at is what the broker's clock shows, or a little more, when this process's clock shows t.
func (c *brokerClock) at(t time.Time) time.Time {
	return c.mark.Load().at(t)
}

// roundTrip is how long the answer took by which the clock was last measured.
func (c *brokerClock) roundTrip() time.Duration {
	if m := c.mark.Load(); m != nil {
		return m.took
	}
	return 0
}
