package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// Interactions that are declared again while the tombstone of their earlier generation is stored wait until it is
// deleted. However many they are, they do not delay the intake of others.
func TestIntakePassesMessagesThatWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := withRealIntervals(t, consumer.Schedule)
		generation := time.Now().UTC().Format(time.RFC3339Nano)
		time.Sleep(time.Second)
		for i := range 6000 {
			id := fmt.Sprintf("00000000-0000-4000-8000-%012x", i)
			due := ns.PollSubject(schema.Audio, id)
			s.PublishMessage(broker.Publication{
				Subject: ns.HoldSubject(schema.Audio, id),
				Header: broker.Header{
					schema.HeaderPoll: {"3"}, schema.HeaderGeneration: {generation}, schema.HeaderTombstone: {"true"},
				},
				Schedule: broker.Schedule{At: time.Now().Add(time.Minute), Target: due},
			})
			s.DeclareAs(schema.Audio, id)
		}
		w := s.Start()
		s.Until("all of them to wait", func() bool { return w.Stats().DeclaredWaits >= 6000 })
		id := s.Declare(schema.Chat, simulator.Processed(0))
		declared := time.Now()
		s.WaitPollsOf(id, 1)
		if took := time.Since(declared); took > 8*time.Second { // its interval, and little more
			t.Errorf("the first poll came after %s, want it within 8 s", took)
		}
	})
}
