package clock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"statusworker/schema/broker"
)

// Broker reads the state of a stream, with the time of its leader.
type Broker interface {
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
}

// Clock is the broker's clock. After the first measurement it is safe for concurrent use.
type Clock struct {
	broker Broker
	stream string

	now  func() time.Time
	wall func() time.Time // the wall clock; nil means that in the times that now returns. Only its steps matter.
	// known is replaced as a whole, so that no reader sees a new measurement without the step that it has shown.
	known atomic.Pointer[known]
	// doubts counts the timestamps of the broker that showed the clock to be behind. settled is their number when the
	// last measurement began.
	doubts, settled atomic.Uint64
	turn            chan struct{} // a semaphore for measurements of a doubtful clock

	keep  sync.Mutex // held to replace known
	steps atomic.Uint64
	step  atomic.Int64 // the last one, in nanoseconds
}

// mark is one measurement.
type mark struct {
	local, broker time.Time
	wall          time.Time     // at local
	took          time.Duration // until the answer
	leader        string
	// When the next measurement of this leader replaced it, by this process's clock and by the broker's; zero before.
	replaced, until time.Time
}

// at converts a time of this process's clock to one of the broker's clock, by this measurement, or a little later.
func (m mark) at(t time.Time) time.Time { return m.broker.Add(t.Sub(m.local)) }

// least returns the same as [mark.at], or a little less: as if the broker had read its clock just before its answer
// arrived. A slow answer counts only in part, so that an overloaded broker makes no polls wait.
func (m mark) least(t time.Time) time.Time { return m.at(t).Add(-min(m.took, maxDoubt)) }

const (
	every   = 10 * time.Second
	samples = 3
	// keepWithin limits a measurement, except the first one.
	keepWithin = 5 * time.Second
	// maxAge is the age up to which workers use a measurement.
	maxAge = every + keepWithin
	// maxDoubt limits the part of an answer's time that counts as an error of the measurement.
	maxDoubt = 50 * time.Millisecond
	// minStep is the least difference between two measurements of the broker's clock that counts as a step: more than
	// NTP slews the clock between them.
	minStep = 50 * time.Millisecond
	// maxParted is how far this host's two clocks may diverge before the broker's clock is measured again: more than
	// they diverge because of NTP between two measurements.
	maxParted = minStep / 2
)

// ErrNoTime means that the answer of the broker has no time.
var ErrNoTime = errors.New("the answer has no timestamp; nats-server 2.10 or later is required")

// New makes the clock of the leader of a stream. It must be measured before use. now is this process's clock.
func New(now func() time.Time, b Broker, stream string) *Clock {
	return &Clock{now: now, broker: b, stream: stream, turn: make(chan struct{}, 1)}
}

// Keep measures the clock repeatedly until ctx ends, and passes errors to failed.
func (c *Clock) Keep(ctx context.Context, failed func(error)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		measure, cancel := context.WithTimeout(ctx, keepWithin)
		err := c.Measure(measure)
		cancel()
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
	}
}

// Measure asks the broker for its time a few times, and uses the fastest answer.
func (c *Clock) Measure(ctx context.Context) error {
	var best mark
	doubts := c.doubts.Load()
	for range samples {
		asked := c.now()
		state, err := c.broker.Stream(ctx, c.stream)
		if err != nil {
			return fmt.Errorf("reading the broker's clock: %w", err)
		}
		took := c.now().Sub(asked)
		if state.Now.IsZero() {
			return fmt.Errorf("reading the broker's clock: %w", ErrNoTime)
		}
		if best.local.IsZero() || took < best.took {
			best = mark{
				local: asked, broker: state.Now, took: took, wall: c.wallAt(asked), leader: state.Leader,
			}
		}
	}
	c.replace(best)
	c.settled.Store(doubts)
	return nil
}

// replace replaces the last measurement.
func (c *Clock) replace(best mark) {
	c.keep.Lock()
	defer c.keep.Unlock()
	old := c.known.Load()
	if old == nil || c.parted(old.mark) { // this process's clock stopped in between: earlier measurements are useless
		c.known.Store((&known{}).with(best, c.now()))
		return
	}
	now := c.now()
	if step := best.at(now).Sub(old.at(now)); step-best.took > minStep || step+old.took < -minStep {
		c.steps.Add(1)
		c.step.Store(int64(step))
	}
	c.known.Store(old.with(best, now))
}

// Steps returns the number of steps, and the last one.
func (c *Clock) Steps() (uint64, time.Duration) {
	return c.steps.Load(), time.Duration(c.step.Load())
}

// wallAt is the time of this host's wall clock when now returns t.
func (c *Clock) wallAt(t time.Time) time.Time {
	if c.wall == nil {
		return t.Round(0)
	}
	return c.wall()
}

// Notice records that the broker's clock showed t a moment ago.
func (c *Clock) Notice(t time.Time) {
	if t.After(c.Now()) {
		c.doubts.Add(1)
	}
}

// Doubtful reports whether the clock may be behind: the machine was suspended, its wall clock was set, or another
// leader's clock is ahead.
func (c *Clock) Doubtful() bool {
	return c.doubts.Load() != c.settled.Load() || c.parted(c.known.Load().mark)
}

// parted reports whether this host's two clocks have diverged since a measurement.
func (c *Clock) parted(m mark) bool {
	now := c.now()
	steps := c.wallAt(now).Sub(m.wall) - now.Sub(m.local)
	return steps.Abs() > maxParted
}

// Sure measures the clock, unless others have measured it meanwhile.
func (c *Clock) Sure(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !c.Doubtful() || ctx.Err() != nil {
		return ctx.Err()
	}
	return c.Measure(ctx)
}

// Now is the broker's current time, or a little later.
func (c *Clock) Now() time.Time {
	return c.At(c.now())
}

// Local converts a time of the broker's clock to one of this process's clock, or a little earlier.
func (c *Clock) Local(t time.Time) time.Time {
	m := c.known.Load().mark
	return m.local.Add(t.Sub(m.broker))
}

// Offset is how far the broker's clock is ahead of this process's wall clock.
func (c *Clock) Offset() time.Duration { return c.Now().Sub(c.now().Round(0)) }

// At converts a time of this process's clock to one of the broker's clock, or a little later.
func (c *Clock) At(t time.Time) time.Time {
	return c.known.Load().at(t)
}

// RoundTrip is how long the answer of the last measurement took.
func (c *Clock) RoundTrip() time.Duration {
	if k := c.known.Load(); k != nil {
		return k.took
	}
	return 0
}

// Passed is the time between two times of this process's clock, including a suspension of its machine.
func Passed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}
