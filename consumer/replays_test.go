package consumer_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// A worker stored a dead letter and died before the tombstone. The interaction is declared again while the reservation
// of that generation is pending: the worker waits until that generation has ended, whether or not the message says
// which generation it replays. Without a dead letter the message is a duplicate.
func TestReplayWaitsForTheGenerationThatItReplays(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ replays, deadLettered bool }{
		"a replay": {true, true}, "a replay, the dead letter is gone": {true, false},
		"declared again": {false, true}, "declared twice": {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule, simulator.Config{}, nil)
			id := uuid.NewString()
			s.vendor.Declare(id, simulator.Failed(schema.StatusProcessingFailed, 0))
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
				s.publish(dead.Subject(), string(data))
				before = 1
			}
			s.publishMsg(
				&nats.Msg{Subject: schema.HoldSubject(schema.Chat, id), Data: []byte(message), Header: nats.Header{
					"Nats-Schedule":         {"@at " + time.Now().Add(2*time.Second).UTC().Format(time.RFC3339Nano)},
					"Nats-Schedule-Target":  {schema.PollSubject(schema.Chat, id)},
					schema.HeaderPoll:       {"2"},
					schema.HeaderGeneration: {life.Format(time.RFC3339Nano)},
				}},
			)
			again := &nats.Msg{
				Subject: schema.DeclaredSubject(schema.Chat, id),
				Data:    []byte(message),
				Header:  nats.Header{},
			}
			if test.replays {
				again.Header.Set(schema.HeaderReplays, life.Format(time.RFC3339Nano))
			}
			s.publishMsg(again)

			w := s.start()
			over := test.replays || test.deadLettered // the life that the reservation is of
			want := before + 1
			if over && !test.deadLettered {
				want++ // it is polled once more, and ends for the first time
			}
			if got := s.seen.wait(
				s.ctx,
				want,
			); got[want-1].Subject != dead.Subject() ||
				got[want-1].Data.Detail == dead.Detail {
				t.Errorf("the last outcome is %s: %s", got[want-1].Subject, got[want-1].Data.Detail)
			}
			s.drained()
			if over {
				s.polite()
			} else if polls := s.vendor.CountOf(id); polls != 1 {
				t.Errorf("%d polls, want one", polls)
			}
			if got := s.seen.wait(s.ctx, want); len(got) != want {
				t.Errorf("%d outcomes, want %d", len(got), want)
			}
			if stats := w.Stats(); stats.DeclaredAgain > 0 != over || stats.DeclaredTwice > 0 == over {
				t.Errorf("counted %d declared again, %d declared twice", stats.DeclaredAgain, stats.DeclaredTwice)
			}
		})
	}
}
