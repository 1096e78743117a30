package consumer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/adapter"
	"statusworker/consumer"
	"statusworker/publisher"
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
	s := newStage(t, consumer.Schedule, simulator.Config{}, nil)
	behind := &atomic.Int64{}
	behind.Store(int64(step))
	p, err := publisher.New(s.ctx, adapter.New(s.js), s.cfg.Log)
	if err != nil {
		t.Fatal(err)
	}
	const n = 10
	for range n {
		id := uuid.NewString()
		s.vendor.Declare(id, simulator.Processed(1500*time.Millisecond))
		s.declare(schema.Chat, id)
	}
	s.vendor.OnPoll(func(p simulator.Poll) { behind.Store(0) })
	w, err := consumer.New(s.ctx, behindClock{adapter.New(s.js), behind}, s.mode, s.client(), p, s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.run(w)
	s.seen.wait(s.ctx, n)
	s.drained()
	s.polite()
	if stats := w.Stats(); stats.ClockSteps == 0 || stats.ClockStep <= 0 {
		t.Errorf("%d steps of the broker's clock, the last of %s, want one forward", stats.ClockSteps, stats.ClockStep)
	}
}
