package consumer_test

import (
	"testing"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// A replaced leader answers reads from what was stored before. These tests let such reads lack what matters:
// nothing is acknowledged because it is absent.

// An interaction is declared again after its dead letter, which is not read: the generation before seems to go on. The
// message waits, and begins a generation.
func TestDeclaredAgainAfterADeadLetterThatIsNotRead(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		out := observed{s.Publisher(), func(o schema.Outcome) {
			if o.Reason == "" {
				return
			}
			time.Sleep(time.Millisecond) // what is declared at the time of an outcome counts as declared before
			s.Vendor.Declare(o.Identifier, simulator.Processed(0))
			s.Fake.Inject(fake.Fault{
				Op: fake.Last, Object: ns.StreamOutcomes(), Stale: time.Second, Times: 2,
			})
			s.DeclareAs(schema.Transcript, o.Identifier)
			time.Sleep(500 * time.Millisecond) // like a polls stream that elects a leader
		}}
		w := s.Start(stage.Ports{Outcomes: out})
		id := s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0))
		s.WantOutcomes(ns.FailedSubject(schema.ProcessingFailed, id), ns.ProcessedSubject(schema.ToCXAI, id))
		s.WaitDrained()
		if left := s.Fake.Uninject(); left > 1 {
			t.Errorf("%d reads were not old, want at most one", left)
		}
		if n := w.Stats().DeclaredTwice; n != 0 {
			t.Errorf("%d were dropped as declared twice", n)
		}
	})
}

// A late due message is rejected for a moment, and then nothing is read for its interaction. It is not acknowledged.
func TestRejectedAndNothingIsRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		w := s.Start()
		id := s.Declare(schema.Chat, simulator.Processed(0))
		s.Until("it to be taken in", func() bool { return w.Stats().TakenIn == 1 })
		w.End()
		time.Sleep(3 * consumer.Guidance.Chat) // no worker polls
		s.Fake.Inject(
			fake.Fault{Op: fake.Publish, Object: ns.HoldSubject(schema.Chat, id), Err: broker.ErrRejected},
			fake.Fault{Op: fake.Last, Object: ns.StreamPolls(), Stale: fake.MaxStale, Times: 2},
		)
		s.Start()
		s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, id))
		s.WaitDrained()
		if s.Fake.Uninject() != 0 {
			t.Error("no reservation was rejected, or no read was old")
		}
	})
}
