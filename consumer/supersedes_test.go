package consumer_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// A worker stored a dead letter and died before the tombstone. The interaction is declared again while the reservation
// of that life is pending: it waits until that life has ended, whether or not it says which life it supersedes. Without
// a dead letter it is declared twice.
func TestReplayWaitsForTheLifeThatItSupersedes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ replays, deadLettered bool }{
		"a replay": {true, true}, "a replay, the dead letter is gone": {true, false},
		"declared again": {false, true}, "declared twice": {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule, nil)
			id := uuid.NewString()
			s.Vendor.Declare(id, simulator.Failed(schema.StatusProcessingFailed, 0))
			message := fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id)
			life := time.Now().Add(-time.Hour).UTC()

			dead := schema.Outcome{
				Identifier:  id,
				Type:        schema.Chat,
				Reason:      schema.ProcessingFailed,
				Detail:      "an earlier life",
				Declaration: json.RawMessage(message),
				Observed:    life.Add(time.Minute),
				Origin: schema.Origin{
					Stream:     schema.StreamDeclared,
					Subject:    schema.DeclaredSubject(schema.Chat, id),
					Sequence:   1,
					Deliveries: 1,
					Stored:     life,
					Polls:      1,
				},
			}
			data, err := dead.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			before := 0
			if test.deadLettered {
				s.Publish(dead.Subject(), string(data))
				before = 1
			}
			s.PublishMessage(broker.Publication{
				Subject: schema.HoldSubject(schema.Chat, id), Data: []byte(message), Header: broker.Header{
					schema.HeaderPoll: {"2"}, schema.HeaderGeneration: {life.Format(time.RFC3339Nano)},
				},
				Schedule: broker.Schedule{At: time.Now().Add(2 * time.Second), Target: schema.PollSubject(schema.Chat, id)},
			})
			again := broker.Publication{
				Subject: schema.DeclaredSubject(schema.Chat, id),
				Data:    []byte(message),
				Header:  broker.Header{},
			}
			if test.replays {
				again.Header.Set(schema.HeaderSupersedes, life.Format(time.RFC3339Nano))
			}
			s.PublishMessage(again)

			w := s.Start()
			over := test.replays || test.deadLettered // the life that the reservation is of
			want := before + 1
			if over && !test.deadLettered {
				want++ // it is polled once more, and ends for the first time
			}
			if last := s.WaitOutcomes(want)[want-1]; last.Subject != dead.Subject() || last.Data.Detail == dead.Detail {
				t.Errorf("the last outcome is %s: %s", last.Subject, last.Data.Detail)
			}
			s.WaitDrained()
			if over {
				s.CheckIntervals()
			} else if polls := s.Vendor.CountOf(id); polls != 1 {
				t.Errorf("%d polls, want one", polls)
			}
			if got := s.WaitOutcomes(want); len(got) != want {
				t.Errorf("%d outcomes, want %d", len(got), want)
			}
			if stats := w.Stats(); stats.DeclaredAgain > 0 != over || stats.DeclaredTwice > 0 == over {
				t.Errorf("counted %d declared again, %d declared twice", stats.DeclaredAgain, stats.DeclaredTwice)
			}
		})
	}
}
