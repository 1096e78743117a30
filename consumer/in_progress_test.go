package consumer_test

import (
	"testing"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
	"statusworker/statusclient/simulator"
)

// An interaction is declared again beside a due message of the generation that has ended, which is then delivered. The
// new generation has its outcome. Its reservation is in progress when the due message is delivered: the leader of a
// replicated stream then rejects other reservations only if their conditions have the same filter.
func TestDueMessageWhileTheNextGenerationIsInProgress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		w := s.Start()
		id := s.Declare(schema.Chat, simulator.Processed(0))
		s.Until("it to be taken in", func() bool { return w.Stats().TakenIn == 1 })
		w.End()
		due := s.waitDue(id)
		lost := 0
		s.Check(s.Fake.Puller(ns.StreamPolls(), ns.PollConsumer(schema.Chat)).Pull(1, time.Second,
			func(broker.Delivery) { lost++ }))
		if lost != 1 {
			t.Fatalf("%d deliveries, want one", lost)
		}
		generation, err := lifecycle.ReadPosition(due.Header)
		s.Check(err)
		failed := schema.Outcome{
			Identifier: id, Type: schema.Chat, Reason: schema.ProcessingFailed, Observed: time.Now(),
			Origin: schema.Origin{Stored: generation.Generation},
		}
		data, err := failed.Marshal()
		s.Check(err)
		s.Publish(ns.OutcomeSubject(failed), string(data))
		time.Sleep(time.Millisecond) // what is declared at the time of an outcome counts as declared before
		s.DeclareAs(schema.Chat, id)
		s.Fake.Inject(fake.Fault{
			Op: fake.Publish, Object: ns.HoldSubject(schema.Chat, id), Commit: time.Second, Times: 2,
		})
		w = s.Start()
		s.Until("a rejection", func() bool { return w.Stats().RejectedReservations > 0 })
		time.Sleep(200 * time.Millisecond) // the second attempt is in progress
		s.Fake.Redeliver(ns.StreamPolls(), ns.PollConsumer(schema.Chat), due.Sequence)
		s.WantOutcomes(ns.OutcomeSubject(failed), ns.ProcessedSubject(schema.ToCXAI, id))
		s.WaitDrained()
		if s.Fake.Uninject() != 0 {
			t.Error("no reservation was in progress")
		}
	})
}

// waitDue waits until the reservation of an interaction falls due, and returns its due message.
func (s *testStage) waitDue(id string) (due broker.Message) {
	s.T.Helper()
	s.Until("a due message", func() bool {
		var err error
		due, err = s.Broker.Last(s.Ctx, ns.StreamPolls(), ns.PollSubjects(id))
		return err == nil
	})
	return due
}
