package consumer_test

import (
	"testing"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// A poll is due behind a due message of another client. A second declared message changes nothing: the outcomes are
// those that the first one asks for.
func TestDeclaredTwiceBehindAForeignMessage(t *testing.T) {
	for name, foreign := range map[string]bool{"alone": false, "behind": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := inMemory(t, consumer.Schedule, nil)
				id := s.Declare(schema.Audio, simulator.Processed(0))
				w := s.Start()
				s.Until("it to be taken in", func() bool { return w.Stats().TakenIn == 1 })
				w.End()
				s.waitDue(id)
				if foreign {
					s.Publish("interactions.poll.bogus."+id, "nonsense")
				}
				s.DeclareAs(schema.Audio, id, `"includeAiResults":false`)
				s.Fake.Inject(fake.Fault{
					Op: fake.Pull, Object: ns.StreamPolls(), Err: broker.ErrNoAnswer, Times: 1 << 20,
				})
				second := s.Start()
				s.Until("a rejection", func() bool { return second.Stats().RejectedReservations > 0 })
				time.Sleep(5 * time.Second) // a generation that begins is an event, one that does not is none
				if n := second.Stats().TakenIn; n != 0 {
					t.Errorf("a second generation began before the first had ended")
				}
				s.Fake.Uninject()
				s.wantProcessed(id)
			})
		})
	}
}

// Another client publishes a due message of an unknown type while a poll is due.
func TestForeignMessageWhileAPollIsDue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		id := s.Declare(schema.Chat, simulator.Processed(0))
		w := s.Start()
		s.Until("it to be taken in", func() bool { return w.Stats().TakenIn == 1 })
		w.End()
		s.waitDue(id)
		s.Publish("interactions.poll.bogus."+id, "nonsense")
		s.Start()
		s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, id))
	})
}
