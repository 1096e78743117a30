package consumer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// brokerClock knows the broker's time, by which reservations fall due. It is measured against the time stamp in the
// broker's answers, and counts on from there by this process's monotonic clock, so a step of either wall clock is
// mended by the next measurement and a local one does no harm at all.
//
// The broker made the stamp between the request and the answer. The clock takes it to have been made at the request:
// its idea of the broker's time is then never behind the truth, so a reservation is never made for too early a moment.
type brokerClock struct {
	now  func() time.Time
	mark atomic.Pointer[mark]
}

type mark struct {
	local, broker time.Time
	took          time.Duration // the answer
}

const (
	clockEvery   = 30 * time.Second
	clockSamples = 3
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
			best, quickest = mark{local: asked, broker: info.TimeStamp, took: took}, took
		}
	}
	c.mark.Store(&best)
	return nil
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

// atLeast tells the clock that the broker's showed t a moment ago, and says whether it was behind. It is only where this
// process stood still (a suspended machine), or where another leader's clock is ahead. It goes on from t then, which is
// behind still by as long as t took to come here: before anything hangs on it, it is to be measured again.
func (c *brokerClock) atLeast(t time.Time) (behind bool) {
	if now := c.now(); t.After(c.time()) {
		c.mark.Store(&mark{local: now, broker: t, took: c.mark.Load().took})
		return true
	}
	return false
}

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
