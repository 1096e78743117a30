package publisher_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/fake"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

func TestPublishFirst(t *testing.T) {
	brokers(t, func(t *testing.T, s *stage) {
		id, bad := uuid.NewString(), uuid.NewString()
		both := processed(id, generation)
		s.publish(publisher.Stats{Published: 2}, both...)
		s.want(both...)
		invalid := failed(bad, generation, schema.InvalidMessage)
		invalid.Origin.Traceparent = ""
		s.publish(publisher.Stats{Published: 1}, invalid)
		s.want(invalid)

		header := func(o schema.Outcome, sequence, family string) broker.Header {
			h := broker.Header{"Content-Type": {"application/cloudevents+json"}, "Nats-Msg-Id": {o.ID()}}
			if family != "" {
				h["Nats-Expected-Last-Subject-Sequence"] = []string{sequence}
				h["Nats-Expected-Last-Subject-Sequence-Subject"] = []string{family}
			}
			if o.Origin.Traceparent != "" {
				h["traceparent"] = []string{traceparent}
			}
			return h
		}
		all := slices.Concat(s.stored(id), s.stored(bad))
		second := header(both[1], "", "") // of a batch
		if s.single {
			second = header(both[1], "1", "interactions.*.*."+id)
		}
		for i, want := range []broker.Header{
			header(both[0], "0", "interactions.*.*."+id),
			second,
			header(invalid, "0", "interactions.failed.invalid_message."+bad), // its own subject only
		} {
			got := all[i].Header
			maps.DeleteFunc(got, func(name string, _ []string) bool { return strings.HasPrefix(name, "Nats-Batch-") })
			if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
				t.Errorf("%s has headers\n%v, want\n%v", all[i].Subject, got, want)
			}
		}
	})
}

// A worker died after the first of two outcomes, or after both. Other workers repeat the publish.
func TestPublishRepeated(t *testing.T) {
	brokers(t, func(_ *testing.T, s *stage) {
		id, dead := uuid.NewString(), uuid.NewString()
		both := processed(id, generation)
		s.publish(publisher.Stats{Published: 1}, both[0])
		s.forget()
		s.publish(publisher.Stats{Published: 1, Repeated: 1}, both...)
		s.want(both...)
		for range 2 {
			s.forget()
			s.publish(publisher.Stats{Repeated: 2}, both...)
			s.want(both...)
		}

		rejected := failed(dead, generation, schema.Rejected)
		s.publish(publisher.Stats{Published: 1}, rejected)
		s.forget()
		s.publish(publisher.Stats{Repeated: 1}, rejected)
		s.want(rejected)
	})
}

func TestPublishRepeatedAfterRestart(t *testing.T) {
	brokers(t, func(t *testing.T, s *stage) {
		both := processed(uuid.NewString(), generation)
		s.publish(publisher.Stats{Published: 1}, both[0])
		s.forget()
		s.restart()
		p := s.fresh()
		if err := p.Publish(s.ctx, both...); err != nil {
			t.Fatal(err)
		}
		s.want(both...)
		if got := p.Stats(); got.Published != 1 || got.Repeated != 1 || got.Contradictions != 0 {
			t.Errorf("stats %+v, want one published and one repeated", got)
		}
	})
}

func TestPublishContradiction(t *testing.T) {
	kinds(t, func(_ *testing.T, s *stage) {
		contradicts := publisher.Stats{Contradictions: 1}
		id, dead := uuid.NewString(), uuid.NewString()

		s.publish(publisher.Stats{Published: 2}, processed(id, generation)...)
		s.publish(contradicts, failed(id, generation, schema.ProcessingFailed))
		superseded := publisher.Stats{Repeated: 1}
		s.publish(superseded, failed(id, later, schema.ProcessingFailed))
		s.want(processed(id, generation)...)

		s.publish(publisher.Stats{Published: 1}, failed(dead, later, schema.Rejected))
		s.publish(contradicts, failed(dead, later, schema.NotFound))
		s.publish(contradicts, processed(dead, later)...)
		s.publish(publisher.Stats{Repeated: 2}, processed(dead, generation)...)
		s.publish(superseded, failed(dead, generation, schema.NotFound))
		s.want(failed(dead, later, schema.Rejected))
	})
}

// A worker may end between two processed events, and the vendor may not know the interaction any more.
func TestPublishCompletesHalfASuccess(t *testing.T) {
	kinds(t, func(t *testing.T, s *stage) {
		dead := func(id string, stored time.Time) schema.Outcome {
			o := failed(id, stored, schema.NotFound)
			o.Success = []schema.Destination{schema.ToTranscript, schema.ToCXAI}
			return o
		}
		for i := range 2 { // in both orders
			id := uuid.NewString()
			both := processed(id, generation)
			s.publish(publisher.Stats{Published: 1}, both[i])
			s.forget()
			want := publisher.Stats{Published: 1}
			if s.fake != nil { // a replaced leader does not have the event
				s.fake.Inject(fake.Fault{Op: fake.Get, Stale: fake.MaxStale})
				want.Retries = 1
			}
			s.publish(want, dead(id, generation))
			s.want(both[i], both[1-i])
			s.forget()
			s.publish(publisher.Stats{Contradictions: 1}, dead(id, generation))
			s.want(both[i], both[1-i])
		}

		// After an event of an earlier generation there is no outcome.
		again := uuid.NewString()
		unrouted := outcome(again, generation)
		unrouted.Destination = schema.Unrouted
		both := processed(again, later)
		s.publish(publisher.Stats{Published: 1}, unrouted)
		s.publish(publisher.Stats{Repeated: 1}, both[0])
		s.publish(publisher.Stats{Repeated: 1}, dead(again, later))
		s.want(unrouted)

		// A foreign message cannot be completed.
		other := processed(uuid.NewString(), generation)[0]
		ofAnother, err := other.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		noEvent := fmt.Appendf(nil, `{"data":{"destination":"transcript","declaredAt":%q}}`,
			generation.Format(time.RFC3339Nano))
		for _, data := range [][]byte{[]byte("nonsense"), noEvent, ofAnother} {
			foreign := processed(uuid.NewString(), generation)[0]
			s.put(ns.OutcomeSubject(foreign), data)
			s.publish(publisher.Stats{Contradictions: 1}, dead(foreign.Identifier, generation))
			if n := len(s.stored(foreign.Identifier)); n != 1 {
				t.Errorf("%d outcomes in addition to the foreign message %s, want none", n-1, data)
			}
		}
		if n := len(s.stored(other.Identifier)); n != 0 {
			t.Errorf("%d outcomes of another interaction, want none", n)
		}
	})
}

// A deleted outcome is published again, although the broker remembers its message ID.
func TestPublishAfterDelete(t *testing.T) {
	brokers(t, func(t *testing.T, s *stage) {
		id := uuid.NewString()
		both := processed(id, generation)
		s.publish(publisher.Stats{Published: 1}, both[0])
		if err := s.Delete(s.ctx, ns.StreamOutcomes(), s.stored(id)[0].Sequence); err != nil {
			t.Fatal(err)
		}
		before := s.publishes.Load()
		p := s.fresh()
		if err := p.Publish(s.ctx, both...); err != nil {
			t.Fatal(err)
		}
		if n := s.publishes.Load() - before; n < 2 || n > 5 {
			t.Errorf("%d publishes, want two or three", n)
		}
		var subjects []string
		for _, m := range s.stored(id) {
			subjects = append(subjects, m.Subject)
		}
		if !slices.Equal(subjects, []string{ns.OutcomeSubject(both[0]), ns.OutcomeSubject(both[1])}) {
			t.Errorf("stored outcomes %v, want both", subjects)
		}
	})
}

// An interaction that is declared again after a dead letter gets a new outcome. A late outcome of the old generation is
// dropped, and so is an outcome of a message that was declared before the dead letter was stored.
func TestPublishNewGeneration(t *testing.T) {
	kinds(t, func(t *testing.T, s *stage) {
		id := uuid.NewString()
		old, both := failed(id, generation, schema.ProcessingFailed), processed(id, later)
		s.publish(publisher.Stats{Published: 1}, old)
		s.forget()
		s.publish(publisher.Stats{Published: 1}, both[0])
		s.publish(publisher.Stats{Published: 1, Repeated: 1}, both...)
		s.forget()
		p := s.fresh()
		if err := p.Publish(s.ctx, old); err != nil {
			t.Fatal(err)
		}
		if got := p.Stats(); got.Published != 0 || got.Repeated+got.Contradictions != 1 {
			t.Errorf("stats of a late outcome of the old generation: %+v, want none published", got)
		}
		s.publish(publisher.Stats{Contradictions: 1}, failed(id, generation, schema.NotFound))
		s.want(slices.Concat([]schema.Outcome{old}, both)...)

		// A second dead letter is an outcome of its own, even with the same reason.
		again := uuid.NewString()
		s.publish(publisher.Stats{Published: 1}, failed(again, generation, schema.ProcessingFailed))
		s.publish(publisher.Stats{Repeated: 1}, failed(again, generation.Add(time.Hour), schema.ProcessingFailed))
		s.publish(publisher.Stats{Published: 1}, failed(again, later, schema.ProcessingFailed))
		s.forget()
		s.publish(publisher.Stats{Repeated: 1}, failed(again, later, schema.ProcessingFailed))
		s.publish(publisher.Stats{Repeated: 1}, failed(again, generation, schema.ProcessingFailed))
		s.want(failed(again, generation, schema.ProcessingFailed), failed(again, later, schema.ProcessingFailed))

		// After processed events no generation has another outcome.
		s.publish(publisher.Stats{Repeated: 2}, processed(id, later.Add(time.Hour))...)
		s.want(slices.Concat([]schema.Outcome{old}, both)...)
	})
}

// Outcomes returns the newest outcome on each subject.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	s := newStage(t, remembered)
	id := uuid.NewString()
	p := s.fresh()
	want := func(want ...schema.Outcome) {
		t.Helper()
		got, err := p.Outcomes(s.ctx, id)
		if err != nil || len(got) != len(want) {
			t.Fatalf("outcomes %+v (%v), want %d", got, err, len(want))
		}
		for _, o := range want {
			if !slices.ContainsFunc(got, func(g lifecycle.Outcome) bool {
				return g.Subject == ns.OutcomeSubject(o) && g.Reason == o.Reason && g.Destination == o.Destination &&
					g.Generation.Equal(o.Origin.Stored) && g.Stored.After(generation)
			}) {
				t.Errorf("outcomes %+v lack %s of %s", got, ns.OutcomeSubject(o), o.Origin.Stored)
			}
		}
	}
	want()
	invalid := failed(id, generation, schema.InvalidMessage)
	s.publish(publisher.Stats{Published: 1}, invalid)
	want(invalid)
	s.publish(publisher.Stats{Published: 1}, failed(id, generation, schema.NotFound))
	s.publish(publisher.Stats{Published: 1}, failed(id, later, schema.NotFound))
	third := processed(id, later.Add(time.Hour))
	s.publish(publisher.Stats{Published: 2}, third...)
	want(invalid, failed(id, later, schema.NotFound), third[0], third[1])
}

// The intake calls Outcomes for every interaction. Most have none.
func TestOutcomesWithoutAnOutcomeIsOneRequest(t *testing.T) {
	t.Parallel()
	s := onServer(t, remembered)
	p := s.fresh()
	requests, err := s.server.nc.SubscribeSync("$JS.API.>")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got, err := p.Outcomes(s.ctx, uuid.NewString()); err != nil || len(got) != 0 {
			t.Fatalf("outcomes %+v, %v, want none", got, err)
		}
	}
	if err := s.server.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := requests.Pending(); err != nil || n != 3 {
		t.Errorf("%d requests (%v) for three interactions, want one each", n, err)
	}
}

// A foreign message on the subject of a processed event counts as that event; one on the subject of a dead letter does
// not count.
func TestPublishBesideForeignMessages(t *testing.T) {
	t.Parallel()
	s := newStage(t, remembered)
	for _, foreign := range []string{"not JSON", "{}", `[1]`, `{"data":{"destination":"cxai","reason":"rejected"}}`} {
		id, dead := uuid.NewString(), uuid.NewString()
		for _, subject := range []string{
			ns.ProcessedSubject(schema.ToTranscript, id), ns.FailedSubject(schema.Rejected, dead),
		} {
			s.put(subject, []byte(foreign))
		}
		s.publish(publisher.Stats{Published: 1, Repeated: 1}, processed(id, generation)...)
		s.publish(publisher.Stats{Contradictions: 1}, failed(id, generation, schema.Rejected))
		s.publish(publisher.Stats{Published: 2}, processed(dead, generation)...)
		if n, m := len(s.stored(id)), len(s.stored(dead)); n != 2 || m != 3 {
			t.Errorf("%d and %d messages stored with the foreign message %s, want 2 and 3", n, m, foreign)
		}
	}
}
