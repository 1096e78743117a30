package consumer_test

import (
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// throttled makes a worker receive one 429 with a Retry-After of an hour, and ends it. Its interaction waits.
func (s *testStage) throttled() (identifier string) {
	s.T.Helper()
	identifier = s.Declare(schema.Chat, simulator.Never().With(simulator.Throttle(time.Hour).On(1, 1)))
	w := s.Start()
	s.Until("the pause", func() bool { return w.Breaker().Cause == breaker.Throttled && w.Stats().Waits > 0 })
	w.End()
	return identifier
}

// The next poll of an interaction starts no earlier than the vendor's Retry-After.
func TestRetryAfterIsKept(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		const n, wait = 5, 4 * time.Second
		var ids []string
		for range n {
			ids = append(ids, s.Declare(schema.Chat, simulator.Processed(0).With(simulator.Throttle(wait).On(1, 1))))
		}
		s.Start()
		s.WaitOutcomes(n)
		for _, id := range ids {
			polls := s.Vendor.PollsOf(id)
			if len(polls) != 2 {
				t.Errorf("%s was polled %d times, want twice", id, len(polls))
				continue
			}
			if gap := polls[1].At.Sub(polls[0].At); gap < wait {
				t.Errorf("%s was polled again after %s, the vendor asked for %s", id, gap, wait)
			}
		}
	})
}

// A long Retry-After pauses the worker, and not the interaction: workers that start later poll it within minutes.
func TestLongRetryAfterIsNotStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		id := s.throttled()
		m, err := s.Broker.Last(s.Ctx, ns.StreamPolls(), ns.HoldSubject(schema.Chat, id))
		s.Check(err)
		if wait := m.Due().Sub(m.Time); wait < 4*time.Minute || wait > 5*time.Minute+time.Second {
			t.Errorf("it is due in %s, want some 5 minutes", wait)
		}
	})
}

// A long Retry-After does not delay an interaction beyond its deadline, when another worker can poll.
func TestLongRetryAfterKeepsTheDeadline(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		const deadline = 5 * time.Second
		s := inMemory(t, mode, func(c *consumer.Config) { c.Deadline = deadline })
		declared := time.Now()
		id := s.throttled()
		s.Start()
		got := s.WantOutcomes(ns.FailedSubject(schema.DeadlineExceeded, id))[0]
		if took := time.Since(declared); took > 2*deadline {
			t.Errorf("it ended %s after it was declared, the deadline is %s", took, deadline)
		}
		if strings.Contains(got.Data.Detail, "429") {
			t.Errorf("the detail of the deadline is %s", got.Data.Detail)
		}
		s.WaitDrained()
		s.CheckIntervals()
	})
}
