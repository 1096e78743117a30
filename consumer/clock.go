package consumer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// brokerClock knows the broker's time, by which reservations fall due. It is measured against the time stamp in the
// broker's answers, and counts on from there by this process's monotonic clock, so a step of either wall clock is
// mended by the next measurement. A local one forward may leave out a poll that was just about to be made: it looks as if the
// machine had been suspended.
//
// The broker made the stamp between the request and the answer. The clock takes it to have been made at the request:
// its idea of the broker's time is then never behind the truth, so a reservation is never made for too early a moment.
//
// While a machine is suspended, its monotonic clock stands still. What is due then makes the clock measure anew before it
// is reserved by it, see sure.
type brokerClock struct {
	now  func() time.Time
	wall func() time.Time // nil is now's; only its steps count
	mark atomic.Pointer[mark]
	// behind says that a stamp of the broker showed the clock to be so.
	behind atomic.Bool
	turn   sync.Mutex
}

type mark struct {
	local, broker time.Time
	wall          time.Time     // at local
	took          time.Duration // the answer
}

const (
	clockEvery   = 30 * time.Second
	clockSamples = 3
	// clockSteps is how far this host's two clocks may part before the broker is asked again. It is well within the
	// slack, and more than NTP makes them part between two measurements.
	clockSteps = slackLeast / 4
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
	c.mark.Store(&best)
	c.behind.Store(false)
	return nil
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
	now, m := c.now(), c.mark.Load()
	steps := c.wallAt(now).Sub(m.wall) - now.Sub(m.local)
	return c.behind.Load() || steps.Abs() > clockSteps
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
	m := c.mark.Load()
	return m.broker.Add(t.Sub(m.local))
}

// roundTrip is how long the answer took by which the clock was last measured.
func (c *brokerClock) roundTrip() time.Duration {
	if m := c.mark.Load(); m != nil {
		return m.took
	}
	return 0
}
