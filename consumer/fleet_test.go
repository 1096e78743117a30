package consumer_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// announcements are the announcements of the live workers, by worker.
func (s *testStage) announcements() map[string]schema.Announcement {
	s.T.Helper()
	all := map[string]schema.Announcement{}
	subjects, err := s.Broker.Subjects(s.Ctx, ns.StreamWorkers(), ns.SubjectsWorkers())
	s.Check(err)
	for subject := range subjects {
		m, err := s.Broker.Last(s.Ctx, ns.StreamWorkers(), subject)
		if errors.Is(err, broker.ErrNotFound) {
			continue // it has just expired
		}
		s.Check(err)
		var a schema.Announcement
		if err := json.Unmarshal(m.Data, &a); err != nil {
			s.T.Fatalf("%s: %v", m.Data, err)
		}
		if subject != ns.WorkerSubject(a.Worker) {
			s.T.Errorf("worker %q announces itself on %s", a.Worker, subject)
		}
		all[a.Worker] = a
	}
	return all
}

// announced returns the announcements when a condition is true for them.
func (s *testStage) announced(
	within time.Duration, what string, done func(map[string]schema.Announcement) bool,
) (all map[string]schema.Announcement) {
	s.T.Helper()
	began := time.Now()
	s.Until(what, func() bool {
		all = s.announcements()
		if time.Since(began) > within {
			s.T.Fatalf("%s: after %s the announcements are %+v", what, within, all)
		}
		return done(all)
	})
	return all
}

func inState(all map[string]schema.Announcement, state schema.WorkerState) (n int) {
	for _, a := range all {
		if a.State == state {
			n++
		}
	}
	return n
}

// Tools of NATS read the announcements as a key-value bucket.
func TestWorkersBucket(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, nil)
	s.Start()
	all := s.announced(10*time.Second, "a worker", func(all map[string]schema.Announcement) bool {
		return len(all) == 1
	})
	bucket, err := s.JS.KeyValue(s.Ctx, ns.BucketWorkers())
	s.Check(err)
	keys, err := bucket.Keys(s.Ctx)
	s.Check(err)
	for _, key := range keys {
		_, err := bucket.Get(s.Ctx, key)
		s.Check(err)
		delete(all, key)
	}
	if len(keys) != 1 || len(all) != 0 {
		t.Errorf("keys %v, want that of the worker", keys)
	}
}

// The announcement of a worker is in the bucket while the worker lives.
func TestWorkersAnnounceThemselves(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.Host, c.Version = "a-host", "v1.2.3" })
		s.Declare(schema.Chat, simulator.Never())
		first, second := s.Start(), s.Start()
		for _, a := range s.announced(10*time.Second, "two workers", func(all map[string]schema.Announcement) bool {
			return inState(all, schema.Working) == 2
		}) {
			if a.Host != "a-host" || a.Version != "v1.2.3" || a.Cause != "" || a.Until != nil || a.RateLimit != 0 ||
				a.Share != 0 || a.At.Before(a.Started) {
				t.Errorf("announcement %+v", a)
			}
		}
		s.announced(15*time.Second, "the rate of polls", func(all map[string]schema.Announcement) bool {
			for _, a := range all {
				if a.Polls > 2 && a.PollsPerSecond > 0 && a.Oldest[schema.Chat] > 1 {
					return true
				}
			}
			return false
		})

		s.Vendor.SetFaults(simulator.Refusal(http.StatusUnauthorized))
		for _, a := range s.announced(20*time.Second, "a pause", func(all map[string]schema.Announcement) bool {
			return inState(all, schema.Paused)+inState(all, schema.Probing) > 0
		}) {
			if a.State != schema.Working &&
				(a.Cause != string(breaker.Unauthorized) || a.Until == nil || a.Detail == "") {
				t.Errorf("announcement %+v, want its cause, its end, and a detail", a)
			}
		}
		first.Stop()
		second.Kill() // like a crash: it announces nothing any more
		s.announced(5*time.Second, "that one has stopped", func(all map[string]schema.Announcement) bool {
			return inState(all, schema.Stopped) == 1
		})
		s.announced(20*time.Second, "that the other has expired", func(all map[string]schema.Announcement) bool {
			return len(all) == 0
		})
	})
}

// The fleet makes no more requests than the rate limit allows, however many workers there are, and while workers start
// and stop. The share of a worker that dies goes to the others.
func TestRateLimitHoldsForTheFleet(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		const limit = 20.0
		s := inMemory(t, mode, func(c *consumer.Config) { c.MaxPollsPerSecond = limit })
		for range 40 { // four times as many are due as the rate limit allows, or with naks a third more
			s.Declare(schema.Chat, simulator.Never())
		}
		waitShares := func(within time.Duration, n int) {
			t.Helper()
			s.announced(within, "the shares", func(all map[string]schema.Announcement) bool {
				got, want := 0, limit/float64(n)
				for _, a := range all {
					if a.State != schema.Stopped && a.Share > want*0.99 && a.Share < want*1.01 {
						got++
					}
				}
				return got == n
			})
		}
		workers := []*stage.Worker{s.Start(), s.Start(), s.Start()}
		waitShares(20*time.Second, 3)
		s.WaitPolls(s.Vendor.Count() + 60)

		workers = append(workers, s.Start())
		waitShares(20*time.Second, 4)

		// Two die without notice. Within 15 s the others have taken their shares.
		for _, w := range workers[:2] {
			w.Kill()
		}
		waitShares(15*time.Second, 2)
		s.WaitPolls(s.Vendor.Count() + 60)

		// Each worker can have one poll more than its share in any time, and requests do not all take the same time.
		const window = 3 * time.Second
		if n, most := maxPolls(s.Vendor.Polls(), window), limit*3.2+4; float64(n) > most {
			t.Errorf("%d polls within %s, want at most %v", n, window, most)
		}
		s.CheckIntervals()
		// No message was redelivered because AckWait expired: it would be polled too early with naks, and its
		// reservation would be rejected otherwise.
		for _, w := range workers[2:] {
			if stats := w.Stats(); stats.DeliveryErrors != 0 || stats.RejectedReservations != 0 {
				t.Errorf("%d delivery errors, %d rejected reservations", stats.DeliveryErrors,
					stats.RejectedReservations)
			}
		}
	})
}

// maxPolls is the largest number of polls within any window of time.
func maxPolls(polls []simulator.Poll, window time.Duration) (most int) {
	slices.SortFunc(polls, func(a, b simulator.Poll) int { return a.At.Compare(b.At) })
	for first, last := 0, 0; last < len(polls); last++ {
		for polls[last].At.Sub(polls[first].At) > window {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// A worker that cannot read the bucket keeps its share, and continues.
func TestRateLimitWithoutItsBucket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, func(c *consumer.Config) { c.MaxPollsPerSecond = 20 })
		for range 10 {
			s.Declare(schema.Chat, simulator.Never())
		}
		s.Start()
		s.WaitPolls(5)
		const fails = 1000
		s.Fake.Inject(fake.Fault{
			Op: fake.Subjects, Object: ns.StreamWorkers(), Err: broker.ErrStreamNotFound, Times: fails,
		}, fake.Fault{Op: fake.Publish, Object: ns.SubjectsWorkers(), Err: broker.ErrNoAnswer, Times: fails})
		s.WaitPolls(s.Vendor.Count() + 100) // some five seconds: more than one announcement has failed
		s.CheckIntervals()
		if left := s.Fake.Uninject(); left > 2*fails-2 {
			t.Errorf("%d announcements failed, want at least 2", 2*fails-left)
		}
	})
}

// With a rate limit far below what is due, deliveries that wait too long are returned to the broker, none is polled too
// early, and all end.
func TestSmallRateLimit(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.MaxPollsPerSecond, c.Concurrency = 1, 8 })
		var want []string
		for i := range 9 {
			id := s.Declare(schema.Types()[i%2+1], simulator.Processed(0))
			want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Start()
		s.WantOutcomes(want...)
		s.WaitDrained()
		if polls := s.Vendor.Count(); polls != len(want) {
			t.Errorf("%d polls, want %d", polls, len(want))
		}
	})
}

// With a rate limit, interactions that were polled before do not delay the first poll of others, however low the limit
// is.
func TestNaksDoNotDelayFirstPolls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Nak, func(c *consumer.Config) { c.MaxPollsPerSecond = 5 })
		for range 20 { // they alone would use twice the rate limit
			s.Declare(schema.Chat, simulator.Never())
		}
		s.Start()
		s.WaitPolls(30) // from the 21st on, they are polled again
		var want []string
		for range 10 {
			id := s.Declare(schema.Chat, simulator.Processed(0))
			want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		s.WantOutcomes(want...)
		s.CheckIntervals()
	})
}
