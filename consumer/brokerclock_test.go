package consumer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// behindClock is a broker that is asked for its time while its clock is behind that by which schedules fire: as one
// whose stream another server is about to lead.
type behindClock struct {
	consumer.Broker
	behind *atomic.Int64
}

func (b behindClock) Stream(ctx context.Context, name string) (broker.StreamState, error) {
	state, err := b.Broker.Stream(ctx, name)
	state.Now = state.Now.Add(-time.Duration(b.behind.Load()))
	return state, err
}

// What was reserved by one clock and falls due by another that is ahead is not polled too early by a worker that has
// measured both.
func TestBrokerClockStepsForward(t *testing.T) {
	t.Parallel()
	const step = 300 * time.Millisecond
	s := newStage(t, consumer.Schedule, nil)
	behind := &atomic.Int64{}
	behind.Store(int64(step))
	const n = 10
	for range n {
		s.Declare(schema.Chat, simulator.Processed(1500*time.Millisecond))
	}
	s.Vendor.OnPoll(func(p simulator.Poll) { behind.Store(0) })
	w := s.Start(stage.Ports{Broker: behindClock{s.Broker, behind}})
	s.WaitOutcomes(n)
	s.WaitDrained()
	s.CheckIntervals()
	if stats := w.Stats(); stats.ClockSteps == 0 || stats.ClockStep <= 0 {
		t.Errorf("%d steps of the broker's clock, the last of %s, want one forward", stats.ClockSteps, stats.ClockStep)
	}
}
