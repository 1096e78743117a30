package consumer_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

func TestDeclaredAgainAfterItsEnd(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		w := s.Start()
		id := s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0))
		dead := ns.FailedSubject(schema.ProcessingFailed, id)
		s.WantOutcomes(dead)
		// At once: with reservations, the tombstone is still stored. It failed, so another attempt can succeed.
		s.Vendor.Declare(id, simulator.Processed(0))
		s.declareUntilAccepted(schema.Chat, id)
		s.WantOutcomes(dead, ns.ProcessedSubject(schema.ToCXAI, id))
		s.WaitDrained()
		// Processed and declared once more, under the same type and another: the messages are dropped.
		polls := s.Vendor.CountOf(id)
		s.declareUntilAccepted(schema.Chat, id)
		s.declareUntilAccepted(schema.Audio, id)
		s.WaitDrained()
		if n := s.Vendor.CountOf(id) - polls; n != 0 || w.Stats().DeclaredProcessed != 2 {
			t.Errorf("%d more polls, %d counted as declared after the processed events, want none and 2", n,
				w.Stats().DeclaredProcessed)
		}
		s.CheckIntervals()
		s.WantOutcomes(dead, ns.ProcessedSubject(schema.ToCXAI, id))
	})
}

// A producer that declares an interaction again as soon as it sees the dead letter can be faster than the tombstone.
// The message begins another generation.
func TestDeclaredAgainBeforeTheTombstone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		out := observed{s.Publisher(), func(o schema.Outcome) {
			if o.Reason == "" {
				return
			}
			time.Sleep(time.Millisecond) // what is declared at the time of an outcome counts as declared before
			s.Vendor.Declare(o.Identifier, simulator.Processed(0))
			s.DeclareAs(schema.Chat, o.Identifier)
			time.Sleep(100 * time.Millisecond) // like a polls stream that elects a leader
		}}
		w := s.Start(stage.Ports{Outcomes: out})
		var want []string
		for range 10 {
			id := s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0))
			dead := ns.FailedSubject(schema.ProcessingFailed, id)
			want = append(want, dead, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		s.WantOutcomes(want...)
		if n := w.Stats().DeclaredTwice; n != 0 {
			t.Errorf("%d were dropped as declared twice", n)
		}
		s.WaitDrained()
	})
}

// Interactions are declared again while the tombstones of their earlier generations fall due.
func TestDeclaredAgainAsTheTombstoneFallsDue(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, func(c *consumer.Config) { c.Concurrency = 256 })
	var ids, want []string
	for range 100 {
		id := s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0))
		ids = append(ids, id)
		dead := ns.FailedSubject(schema.ProcessingFailed, id)
		want = append(want, dead, ns.ProcessedSubject(schema.ToCXAI, id))
	}
	s.Start()
	s.WaitOutcomes(len(ids))
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			s.Vendor.Declare(id, simulator.Processed(0))
			// A broker looks for what is due four times a second, so most of these meet it as it fires.
			if m, err := s.Broker.Last(s.Ctx, ns.StreamPolls(), ns.HoldSubjects(id)); err == nil {
				select {
				case <-time.After(time.Until(m.Due().Add(100 * time.Millisecond))):
				case <-s.Ctx.Done():
				}
			}
			s.declareUntilAccepted(schema.Chat, id)
		})
	}
	all.Wait()
	s.WantOutcomes(want...)
	s.WaitDrained()
	s.CheckIntervals()
}

// A producer can use a Nats-Msg-Id of the interaction's own. Every publish that the broker acknowledges begins another
// generation, and has an outcome.
func TestDeclaredAgainWithTheSameMsgID(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := onServer(t, mode, nil)
		s.Start()
		id := uuid.NewString()
		s.Vendor.Declare(id, simulator.Failed(schema.StatusProcessingFailed, 0))
		p := broker.Publication{
			Subject: ns.DeclaredSubject(schema.Chat, id), Data: stage.Declaration(schema.Chat, id), ID: id,
		}
		for generation := 1; generation <= 3; generation++ {
			if s.publishUntilAccepted(p).Duplicate {
				t.Fatalf("acknowledged as a duplicate of an ended generation: generation %d", generation)
			}
			if got := s.WaitOutcomes(generation)[generation-1]; got.Data.Reason != schema.ProcessingFailed {
				t.Fatalf("outcome %d is on %s: %s", generation, got.Subject, got.Data.Detail)
			}
		}
		s.WaitDrained()
		s.CheckIntervals()
		if got := s.Outcomes(); len(got) != 3 {
			t.Errorf("%d outcomes, want 3", len(got))
		}
	})
}

// Consumers do not deliver a message that they count as settled, and no other message is accepted on its subject. A
// worker claims such messages. When the consumers are recreated under a running worker, they deliver them. In both
// cases each gets one outcome.
func TestUndeliveredMessagesGetTheirOutcome(t *testing.T) {
	t.Parallel()
	for name, claimedAfter := range map[string]time.Duration{"claimed": time.Second, "recreated": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := onServer(t, consumer.Schedule, func(c *consumer.Config) { c.OverdueAfter = claimedAfter })
			s.undeliveredGetTheirOutcome(claimedAfter == time.Hour)
		})
	}
}

func (s *testStage) undeliveredGetTheirOutcome(recreate bool) {
	t := s.T
	t.Helper()
	set := consumer.Topology(s.Config, consumer.Choices{Mode: consumer.Schedule})
	declared, due := uuid.NewString(), uuid.NewString()
	for id, subject := range map[string]string{
		declared: ns.DeclaredSubject(schema.Chat, declared), due: ns.PollSubject(schema.Chat, due),
	} {
		s.Vendor.Declare(id, simulator.Processed(0).With(stage.PendingOnce))
		s.Publish(subject, string(stage.Declaration(schema.Chat, id)))
	}
	for _, at := range []string{
		ns.StreamDeclared() + "." + ns.ConsumerIntake(),
		ns.StreamPolls() + "." + ns.PollConsumer(schema.Chat),
	} {
		m, err := s.NC.RequestWithContext(s.Ctx, "$JS.API.CONSUMER.RESET."+at, []byte(`{"seq":2}`))
		if err != nil || bytes.Contains(m.Data, []byte(`"error"`)) {
			t.Fatal(m, err)
		}
	}
	s.Start()
	// When this one has its outcome, the consumers have passed over the others.
	another := s.Declare(schema.Chat, simulator.Processed(0))
	s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, another))
	if recreate {
		report, err := provisioning.Inspect(s.Ctx, s.JS, set)
		if err != nil || len(report.Undelivered) != 2 {
			t.Fatalf("found %+v, %v, want both", report, err)
		}
		_, err = provisioning.Recreate(s.Ctx, s.JS, set, provisioning.ToRecreate(nil, report.Undelivered))
		s.Check(err)
	}
	var want []string
	for _, id := range []string{declared, due, another} {
		want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
	}
	s.WantOutcomes(want...)
	s.WaitDrained()
	s.CheckIntervals()
}
