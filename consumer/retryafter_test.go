package consumer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// throttled has a worker meet one 429 with a Retry-After of an hour, and then none: what it has in its hands waits.
func (s *testStage) throttled() (identifier string) {
	s.T.Helper()
	identifier = uuid.NewString()
	s.Vendor.Declare(identifier, simulator.Never().With(simulator.Throttle(time.Hour).On(1, 1)))
	s.DeclareAs(schema.Chat, identifier)
	w := s.Start()
	s.Until("the pause", func() bool { return w.Breaker().Cause == breaker.Throttled && w.Stats().Waits > 0 })
	w.Stop()
	_ = w.Wait()
	return identifier
}

// A long Retry-After is the worker's, and not the interaction's: workers that are started later find it in minutes.
func TestLongRetryAfterIsNotKeptAtTheBroker(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, nil)
	id := s.throttled()
	polls, err := s.JS.Stream(s.Ctx, schema.StreamPolls)
	if err != nil {
		t.Fatal(err)
	}
	m, err := polls.GetLastMsgForSubject(s.Ctx, schema.HoldSubject(schema.Chat, id))
	if err != nil {
		t.Fatal(err)
	}
	due, err := time.Parse("@at "+time.RFC3339Nano, m.Header.Get("Nats-Schedule"))
	if wait := due.Sub(m.Time); err != nil || wait < 4*time.Minute || wait > 5*time.Minute+time.Second {
		t.Errorf("it is due in %s (%v), want some 5 minutes", wait, err)
	}
}

// It holds no interaction back beyond its deadline, where another worker may poll.
func TestLongRetryAfterKeepsTheDeadline(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.Deadline = 5 * time.Second })
		id := s.throttled()
		s.Start()
		got := s.WaitOutcomes(1)[0]
		if got.Subject != schema.FailedSubject(schema.DeadlineExceeded, id) ||
			strings.Contains(got.Data.Detail, "429") {
			t.Errorf("outcome on %s: %s", got.Subject, got.Data.Detail)
		}
		s.WaitDrained()
		s.CheckIntervals()
	})
}
