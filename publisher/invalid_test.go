package publisher_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/publisher"
	"statusworker/schema"
)

// Each invalid message has its own dead letter, which is not an outcome of an interaction.
func TestPublishInvalidMessages(t *testing.T) {
	kinds(t, func(_ *testing.T, s *stage) {
		id := uuid.NewString()
		bad, next := failed(id, generation, schema.InvalidMessage), failed(id, later, schema.InvalidMessage)
		last := failed(id, later.Add(time.Hour), schema.InvalidMessage)
		s.publish(publisher.Stats{Published: 1}, bad)
		s.forget()
		s.publish(publisher.Stats{Repeated: 1}, bad)
		s.publish(publisher.Stats{Published: 1}, next)
		s.forget()
		s.publish(publisher.Stats{Repeated: 1}, next)
		s.want(bad, next)

		fixed := processed(id, generation.Add(time.Minute)) // between the two
		s.publish(publisher.Stats{Published: 2}, fixed...)
		s.publish(publisher.Stats{Published: 1}, last)
		s.forget()
		s.publish(publisher.Stats{Repeated: 2}, fixed...)
		s.publish(publisher.Stats{Repeated: 1}, last)
		s.want(slices.Concat([]schema.Outcome{bad, next}, fixed, []schema.Outcome{last})...)
	})
}

// Two invalid messages on different subjects can have the same last token, and so the same subject of their dead
// letters. Each has its dead letter, in any order.
func TestPublishInvalidMessagesInAnyOrder(t *testing.T) {
	kinds(t, func(_ *testing.T, s *stage) {
		id := uuid.NewString()
		older := failed(id, generation, schema.InvalidMessage)
		newer := failed(id, generation.Add(time.Hour), schema.InvalidMessage)
		newer.Origin.Subject = ns.DeclaredSubject(schema.Chat, id)
		s.publish(publisher.Stats{Published: 1}, newer)
		s.publish(publisher.Stats{Published: 1}, older)
		s.want(newer, older)
		for _, o := range []schema.Outcome{older, newer} {
			s.forget()
			s.publish(publisher.Stats{Repeated: 1}, o)
		}
		s.want(newer, older)
	})
}

// The number of requests is limited even if a producer sends thousands of invalid messages of two types with the same
// token, such as "undefined".
func TestPublishInvalidMessagesBesideMany(t *testing.T) {
	t.Parallel()
	s := newStage(t, remembered)
	const token, many = "undefined", 3000
	stored := func(kind schema.Type, at time.Time) schema.Outcome {
		o := failed(token, at, schema.InvalidMessage)
		o.Origin.Subject = ns.DeclaredSubject(kind, token)
		return o
	}
	for i := range many {
		o := stored(schema.Audio, generation.Add(time.Duration(i)))
		data, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		s.put(ns.OutcomeSubject(o), data)
	}
	for _, tt := range []struct {
		name     string
		declared time.Time
	}{
		{"all were stored after the message", generation.Add(-time.Minute)},
		{"all were stored before the message", time.Now().Add(2 * time.Minute)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := s.reads.Load()
			s.publish(publisher.Stats{Published: 1}, stored(schema.Chat, tt.declared))
			s.publish(publisher.Stats{Published: 1}, stored(schema.Audio, tt.declared.Add(time.Hour)))
			s.publish(publisher.Stats{Repeated: 1}, stored(schema.Chat, tt.declared))
			n := s.reads.Load() - before
			if n == 0 || n > 3*90 {
				t.Errorf("%d reads for three dead letters, want 1 to %d", n, 3*90)
			}
			t.Logf("%d reads", n)
		})
	}
}
