package conformance_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/fake"
	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// An interaction passes through the product's streams: declared, reserved, due, ended.
func TestProductStreams(t *testing.T) {
	t.Parallel()
	set := consumer.Topology(consumer.Config{}, consumer.Choices{Mode: consumer.Schedule}).
		Add(publisher.Topology(publisher.Choices{}))
	set.Streams[len(set.Streams)-1].AllowAtomicPublish = true // as with replicas
	t.Run("fake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := fake.New(fake.Options{}, adapter.StreamConfigs(set)...)
			defer b.Close()
			pass(&stage{T: t, Broker: b, ctx: t.Context()})
		})
	})
	t.Run("server", func(t *testing.T) {
		s := newServer(t)
		if _, err := provisioning.Create(t.Context(), s.js, set); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		pass(&stage{T: t, Broker: adapter.New(s.js), ctx: ctx})
	})
}

func pass(s *stage) {
	const id = "bd5c92f3-c228-44a6-91bf-b52672569878"
	publish := func(p broker.Publication) error { _, err := s.Publish(s.ctx, p); return err }
	take := func(stream, consumer string) (d broker.Delivery) {
		p := s.Puller(stream, consumer)
		defer p.Close()
		s.check(p.Pull(1, patience, func(got broker.Delivery) { d = got }))
		return d
	}
	declared := broker.Publication{Subject: ns.DeclaredSubject(schema.Chat, id), Data: []byte("{}")}
	s.check(publish(declared))
	s.fails(publish(declared), broker.ErrMaxPerSubject)
	d := take(ns.StreamDeclared(), ns.ConsumerIntake())

	state, err := s.Stream(s.ctx, ns.StreamPolls())
	s.check(err)
	first := broker.Publication{
		Subject: ns.HoldSubject(schema.Chat, id), Data: d.Data,
		If:       broker.Condition{Subjects: ns.WaitingSubjects(id)},
		Schedule: broker.Schedule{At: state.Now.Add(soon), Target: ns.PollSubject(schema.Chat, id)},
	}
	s.check(publish(first))
	s.fails(publish(first), broker.ErrRejected)
	s.check(s.AckConfirmed(s.ctx, d))
	due := take(ns.StreamPolls(), ns.PollConsumer(schema.Chat))
	s.least(first.Schedule.At, due.Time, 0)
	s.fails(publish(first), broker.ErrRejected) // its due message is pending
	if due.Subject != first.Schedule.Target || string(due.Data) != "{}" {
		s.Errorf("due message %+v", due)
	}
	next := first
	next.If.Subjects, next.Schedule.At = ns.HoldSubjects(id), state.Now.Add(time.Hour)
	s.until("the next reservation", func() error { return publish(next) })
	s.check(s.AckConfirmed(s.ctx, due))
	pending, err := s.Last(s.ctx, ns.StreamPolls(), ns.HoldSubjects(id))
	s.check(err)

	none := broker.Condition{Subjects: ns.OutcomeSubjects(id)}
	_, err = s.PublishAll(s.ctx, []broker.Publication{
		{Subject: ns.ProcessedSubject(schema.ToTranscript, id), ID: "one", If: none},
		{Subject: ns.ProcessedSubject(schema.ToCXAI, id), ID: "two"},
	})
	s.check(err)
	s.fails(publish(broker.Publication{Subject: ns.FailedSubject(schema.NotFound, id), ID: "three", If: none}),
		broker.ErrRejected)
	stored, err := s.Subjects(s.ctx, ns.StreamOutcomes(), ns.OutcomeSubjects(id))
	if err != nil || len(stored) != 2 {
		s.Errorf("outcomes %v, error %v, want 2", stored, err)
	}
	tombstone := next
	tombstone.If.Last, tombstone.Data = pending.Sequence, nil
	tombstone.Header = broker.Header{schema.HeaderTombstone: {"true"}}
	s.check(publish(tombstone))

	s.check(publish(broker.Publication{Subject: ns.WorkerSubject("w"), Data: []byte("1")}))
	s.check(publish(broker.Publication{Subject: ns.WorkerSubject("w"), Data: []byte("2")}))
	s.until("the worker", func() error { // any replica of a bucket answers reads
		m, err := s.Last(s.ctx, ns.StreamWorkers(), ns.WorkerSubject("w"))
		if err == nil && string(m.Data) != "2" {
			err = errors.New("it has an old value")
		}
		return err
	})
}
