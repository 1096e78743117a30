package overview_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
)

// Of each durable consumer, what it has not acknowledged is counted, and what of that will expire soon, by its filters
// and from its position.
func TestConsumersOfOutcomes(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	store := func(subject string) { s.Publish(subject, "{}") }
	create := func(cfg jetstream.ConsumerConfig) jetstream.Consumer {
		t.Helper()
		cfg.AckPolicy = jetstream.AckExplicitPolicy
		c, err := s.JS.CreateConsumer(s.Ctx, schema.StreamOutcomes, cfg)
		check(t, err)
		return c
	}
	store(schema.ProcessedSubject(schema.ToTranscript, uuid.NewString()))
	store(schema.ProcessedSubject(schema.ToCXAI, uuid.NewString()))
	store(schema.FailedSubject(schema.NotFound, uuid.NewString()))
	create(jetstream.ConsumerConfig{Durable: "all"})
	transcripts := create(jetstream.ConsumerConfig{
		Durable: "transcripts", FilterSubject: schema.ProcessedSubject(schema.ToTranscript, "*"),
	})
	create(jetstream.ConsumerConfig{Durable: "two-filters", FilterSubjects: []string{
		schema.ProcessedSubject(schema.ToCXAI, "*"), schema.SubjectsFailed,
	}})
	create(jetstream.ConsumerConfig{Durable: "late", DeliverPolicy: jetstream.DeliverNewPolicy})
	create(jetstream.ConsumerConfig{Name: "not-durable"})
	held := create(jetstream.ConsumerConfig{Durable: "pulls"})
	m, err := transcripts.Next()
	check(t, err)
	check(t, m.DoubleAck(s.Ctx))
	_, err = held.Next()
	check(t, err)

	stream, err := s.JS.Stream(s.Ctx, schema.StreamOutcomes)
	check(t, err)
	first, err := stream.GetMsg(s.Ctx, 1)
	check(t, err)
	want := map[string]overview.Consumer{
		"all": {Unread: 3}, "transcripts": {}, "two-filters": {Unread: 2}, "late": {}, "pulls": {Unread: 3, Out: 1},
	}
	soon := publisher.DefaultMaxAge / 4
	for _, age := range []time.Duration{0, publisher.DefaultMaxAge - soon - time.Hour,
		publisher.DefaultMaxAge - soon + time.Hour} {
		all, err := overview.CountConsumers(s.Ctx, s.JS, stream, first.Time.Add(age))
		check(t, err)
		if len(all) != len(want) {
			t.Errorf("%d consumers: %+v", len(all), all)
		}
		for n, c := range all {
			w := want[c.Name]
			w.Name, w.ExpiringSeconds = c.Name, soon.Seconds()
			if age > publisher.DefaultMaxAge-soon {
				w.Expiring = w.Unread
			}
			if c != w || n > 0 && all[n-1].Name > c.Name {
				t.Errorf("after %s: %+v, want %+v, sorted", age, c, w)
			}
		}
	}
	if v, err := overview.New(s.JS, time.Now).Take(s.Ctx); err != nil || len(v.Consumers) != len(want) {
		t.Errorf("the overview has the consumers %+v (%v)", v.Consumers, err)
	}
	if v, err := overview.New(s.JS, time.Now).TakeWithoutOutcomes(s.Ctx); err != nil || v.Consumers != nil {
		t.Errorf("without outcomes: %+v (%v)", v.Consumers, err)
	}
}
