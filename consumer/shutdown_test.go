package consumer_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// A worker that is stopped finishes the polls in flight, and begins no other: each interaction is polled once, by one
// of two workers.
func TestShutdownFinishesPolls(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.Concurrency = 8 })
		const n, inFlight = 20, 4
		var ids, want []string
		for range n {
			id := s.Declare(schema.Chat, simulator.Processed(0))
			ids, want = append(ids, id), append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		stopped := make(chan struct{})
		s.Vendor.OnPoll(func(simulator.Poll) { <-stopped })
		release := sync.OnceFunc(func() { close(stopped) })
		t.Cleanup(release) // before the vendor is closed
		w := s.Start()
		s.WaitPolls(inFlight)
		w.Stop()
		release()
		s.Check(w.Wait())
		finished := map[string]bool{}
		for _, o := range s.Outcomes() {
			finished[o.Data.Identifier] = true
		}
		for _, p := range s.Vendor.Polls() {
			if !finished[p.Identifier] {
				t.Errorf("%s was polled when the worker was stopped, and has no outcome", p.Identifier)
			}
		}
		if len(finished) < inFlight || len(finished) == n {
			t.Errorf("%d of %d interactions have ended, want at least %d and not all", len(finished), n, inFlight)
		}
		s.Start()
		s.WantOutcomes(want...)
		s.WaitDrained()
		for _, id := range ids {
			if polls := s.Vendor.CountOf(id); polls != 1 {
				t.Errorf("%s was polled %d times, want once", id, polls)
			}
		}
	})
}

func TestKillLosesNothing(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.RequestTimeout = 3 * time.Second })
		id := s.Declare(schema.Chat, simulator.Processed(0).With(simulator.Fault{Kind: simulator.Hangs}.On(1, 1)))
		w := s.Start()
		s.WaitPollsOf(id, 1)
		w.Kill()
		s.Check(w.Wait())
		s.Start()
		s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, id))
		s.WaitDrained()
		s.CheckIntervals()
	})
}

func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := onServer(t, mode, nil)
		const n = 30
		var want []string
		for range n {
			id := s.Declare(schema.Chat, pendingFor(2)) // two polls, however slow the machine is
			want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Start()
		for polls := range 2 {
			s.WaitPolls(n * (polls + 1))
			s.Check(s.Server.Restart())
		}
		s.WantOutcomes(want...)
		s.WaitDrained()
		if mode == consumer.Schedule {
			s.CheckIntervals() // delayed naks do not keep the interval over a restart of the broker
		}
	})
}

func TestThreeWorkers(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := onServer(t, mode, nil)
		var want []string
		for range 150 {
			id := s.Declare(schema.Chat, simulator.Processed(1500*time.Millisecond).With(stage.PendingOnce))
			want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		for range 3 {
			s.Start()
		}
		s.WaitOutcomes(len(want))
		s.WaitDrained()
		s.WantOutcomes(want...)
		s.CheckIntervals()
	})
}

// A worker whose consumer is deleted ends with an error that names the consumer.
func TestDeletedConsumerIsFatal(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := onServer(t, mode, nil)
		w := s.Start()
		name := ns.PollConsumer(schema.Chat)
		s.Check(s.JS.DeleteConsumer(s.Ctx, mode.PollStream(ns), name))
		var deleted *consumer.DeletedError
		err := w.Wait()
		if !errors.As(err, &deleted) || deleted.Stream != mode.PollStream(ns) || deleted.Consumer != name {
			t.Errorf("the worker ended with %#v, want a DeletedError of %s/%s", err, mode.PollStream(ns), name)
		}
		if !errors.Is(err, broker.ErrConsumerNotFound) {
			t.Errorf("%v does not wrap the broker's error", err)
		}
	})
}

// A connection that is closed permanently ends the worker, even while a lane waits for the broker to answer again.
func TestClosedConnectionIsFatal(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := onServer(t, mode, nil)
		w := s.Start(stage.Ports{Broker: s.Broker})
		s.Server.Stop()
		s.Until("a lane to notice", func() bool { return w.Ready() != nil })
		s.NC.Close()
		if err := w.Wait(); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("the worker ended with %v, want %v", err, broker.ErrClosed)
		}
	})
}

// A closed connection also ends a worker whose lanes do not pull, because the worker has no share of the rate limit
// yet.
func TestClosedConnectionIsFatalWithoutAShare(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.MaxPollsPerSecond = 5 })
		w := s.Start()
		s.announced(10*time.Second, "the worker", func(all map[string]schema.Announcement) bool {
			return len(all) == 1
		})
		s.Fake.Close()
		if err := w.Wait(); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("the worker ended with %v, want %v", err, broker.ErrClosed)
		}
	})
}
