package consumer_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// Interactions that are declared again while the tombstone of their earlier generation is stored wait until it is gone.
// However many they are, they keep no other interaction from being taken in.
func TestManyThatWaitForTheirTombstoneHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topology := consumer.Topology(consumer.Config{}, consumer.Choices{Mode: consumer.Schedule})
		b := &bubble{T: t, mode: consumer.Schedule, answers: []any{schema.StatusProcessed},
			Broker: fake.New(fake.Options{}, adapter.Described(topology)...)}
		defer b.Close()
		declare := func(typ schema.Type, id string) {
			t.Helper()
			_, err := b.Publish(t.Context(), broker.Publication{Subject: schema.DeclaredSubject(typ, id),
				Data: fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":%q}`, id, typ)})
			if err != nil {
				t.Fatal(err)
			}
		}
		generation := time.Now().UTC().Format(time.RFC3339Nano)
		time.Sleep(time.Second)
		for i := range 6000 {
			id := fmt.Sprintf("00000000-0000-4000-8000-%012x", i)
			_, err := b.Publish(t.Context(), broker.Publication{Subject: schema.HoldSubject(schema.Audio, id),
				Header: broker.Header{schema.HeaderPoll: {"3"}, schema.HeaderGeneration: {generation},
					schema.HeaderTombstone: {"true"}},
				Schedule: broker.Schedule{At: time.Now().Add(time.Minute), Target: schema.PollSubject(schema.Audio, id)}})
			if err != nil {
				t.Fatal(err)
			}
			declare(schema.Audio, id)
		}
		defer b.start(b.Broker)()
		time.Sleep(5 * time.Second) // all of them were looked at
		began := time.Now()
		declare(schema.Chat, oneID)
		const within = 8 * time.Second // its interval, and little more
		time.Sleep(within)
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.polls) == 0 {
			t.Errorf("an interaction that was declared at %s is not polled %s later", began, within)
		}
	})
}
