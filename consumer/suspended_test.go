package consumer_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// suspended is a clock that has stopped for a while, like that of a process on a suspended machine.
type suspended struct{ lag atomic.Int64 }

func (c *suspended) now() time.Time { return time.Now().Add(-time.Duration(c.lag.Load())) }

func TestSuspendedProcess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		clock := &suspended{}
		s := inMemory(t, consumer.Schedule, func(c *consumer.Config) { c.Now = clock.now })
		id := s.Declare(schema.Chat, simulator.Processed(5*time.Second))
		s.Start()
		s.WaitPollsOf(id, 2)
		clock.lag.Store(int64(20 * time.Second))
		s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, id))
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// frozen is the clock of a process that can be frozen, as one that is stopped or whose container is paused. Every call
// of now blocks until the process continues.
type frozen struct {
	mu     sync.Mutex
	resume chan struct{}
}

func (f *frozen) now() time.Time {
	f.mu.Lock()
	c := f.resume
	f.mu.Unlock()
	if c != nil {
		<-c
	}
	return time.Now()
}

func (f *frozen) freeze() (resume func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{})
	f.resume = c
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.resume = nil
		close(c)
	})
}

// A worker that was frozen with a delivery does not poll when it continues: the broker has redelivered the message to
// another worker long ago.
func TestSuspendedWorkerDoesNotPoll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		clock := &frozen{}
		s := inMemory(t, consumer.Nak, func(c *consumer.Config) {
			c.Now, c.MaxPollsPerSecond = clock.now, 1
			c.RequestTimeout = 500 * time.Millisecond
		})
		var ids []string
		for range 6 {
			ids = append(ids, s.Declare(schema.Chat, simulator.Never()))
		}
		first := s.Start()
		s.WaitPolls(3)
		s.Until("a delivery to wait for the rate limit", func() bool { return first.Stats().RateLimitWaiting > 0 })
		before := first.Stats()
		resume := clock.freeze()
		t.Cleanup(resume)
		polls := map[string]int{}
		for _, id := range ids {
			polls[id] = s.Vendor.CountOf(id)
		}
		s.Config.Now, s.Config.MaxPollsPerSecond = nil, 0
		s.Start()
		for _, id := range ids { // the first worker's deliveries are redelivered after AckWait
			s.WaitPollsOf(id, polls[id]+1)
		}
		resume()
		s.Until("the first worker to continue", func() bool {
			now := first.Stats()
			return now.NotPolled+now.Polls > before.NotPolled+before.Polls
		})
		s.CheckIntervals()
	})
}

// behindClock is a broker that reports a time which is behind that by which its schedules fire, like a broker whose
// stream is about to be led by another server.
type behindClock struct {
	consumer.Broker
	behind *atomic.Int64
}

func (b behindClock) Stream(ctx context.Context, name string) (broker.StreamState, error) {
	state, err := b.Broker.Stream(ctx, name)
	state.Now = state.Now.Add(-time.Duration(b.behind.Load()))
	return state, err
}

// A worker that has measured both clocks does not poll too early what was reserved by one clock and falls due by
// another that is ahead.
func TestBrokerClockStepsForward(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		behind := &atomic.Int64{}
		behind.Store(int64(300 * time.Millisecond))
		var want []string
		for range 10 {
			id := s.Declare(schema.Chat, simulator.Processed(1500*time.Millisecond))
			want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Vendor.OnPoll(func(simulator.Poll) { behind.Store(0) })
		w := s.Start(stage.Ports{Broker: behindClock{s.Broker, behind}})
		s.WantOutcomes(want...)
		s.WaitDrained()
		s.CheckIntervals()
		if stats := w.Stats(); stats.ClockSteps == 0 || stats.ClockStep <= 0 {
			t.Errorf("%d steps of the broker's clock, the last of %s, want one forward",
				stats.ClockSteps, stats.ClockStep)
		}
	})
}
