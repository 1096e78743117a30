package consumer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
	"statusworker/statusclient/simulator"
)

// readsDeclared counts the reads of declared messages, and readsOutcomes those of the outcomes of an interaction.
type readsDeclared struct {
	consumer.Broker
	n atomic.Int64
}

type readsOutcomes struct {
	consumer.OutcomePublisher
	n atomic.Int64
}

func (r *readsDeclared) Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error) {
	r.n.Add(1)
	return r.Broker.Next(ctx, stream, subjects, from)
}

func (r *readsOutcomes) Outcomes(ctx context.Context, identifier string) ([]lifecycle.Outcome, error) {
	r.n.Add(1)
	return r.OutcomePublisher.Outcomes(ctx, identifier)
}

// startCounted starts a worker, and returns a function that checks how often it has read each of them.
func (s *testStage) startCounted() (want func(reads int64)) {
	s.T.Helper()
	declared, outcomes := &readsDeclared{Broker: s.Fake}, &readsOutcomes{OutcomePublisher: s.Publisher()}
	s.Start(stage.Ports{Broker: declared, Outcomes: outcomes})
	return func(reads int64) {
		s.T.Helper()
		if d, o := declared.n.Load(), outcomes.n.Load(); d != reads || o != reads {
			s.T.Errorf("%d reads of declared messages and %d of outcomes, want %d of each", d, o, reads)
		}
	}
}

// With delayed naks, a worker reads what is stored for an interaction at its first delivery, and again only after five
// minutes.
func TestNaksReadOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		polls int
		reads int64
	}{
		"for some polls": {9, 1}, "for six minutes": {12, 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := withRealIntervals(t, consumer.Nak)
				declared := time.Now()
				id := s.Declare(schema.Audio, pendingFor(tt.polls-1))
				want := s.startCounted()
				s.wantProcessed(id)
				s.WaitDrained()
				s.gaps(id, declared, tt.polls)
				want(tt.reads)
			})
		})
	}
}

// Each worker reads for itself.
func TestNaksReadOncePerWorker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := withRealIntervals(t, consumer.Nak)
		id := s.Declare(schema.Audio, pendingFor(3))
		first := s.Start()
		s.WaitPollsOf(id, 2)
		first.End()
		want := s.startCounted()
		s.wantProcessed(id)
		want(1)
	})
}

// The ack of an ended interaction is lost. Its message is redelivered, and what is stored is read again.
func TestNaksReadAgainAfterTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := withRealIntervals(t, consumer.Nak)
		s.Fake.Inject(fake.Fault{Op: fake.AckConfirmed, Lost: fake.Request})
		id := s.Declare(schema.Audio, simulator.Processed(0))
		want := s.startCounted()
		s.WaitDrained()
		s.wantProcessed(id)
		s.gaps(id, time.Time{}, 2)
		want(2)
	})
}

// While a worker polls an interaction, an outcome of another generation is stored, as after a read that lacked it. The
// worker does not notice it at once. The vendor's answer ends its polls, or the next read. In both cases it stores
// nothing.
func TestNaksAndAnOutcomeOfAnotherGeneration(t *testing.T) {
	outcome := map[string]func(id string, generation time.Time) schema.Outcome{
		"processed": func(id string, generation time.Time) schema.Outcome {
			o := schema.Outcome{Identifier: id, Type: schema.Chat, Destination: schema.ToCXAI, Observed: time.Now()}
			o.Origin.Stored = generation
			return o
		},
		"failed": earlier,
	}
	for name, tt := range map[string]struct {
		script simulator.Script
		polls  int // after the outcome
	}{
		"the vendor ends it":     {simulator.Processed(0).With(stage.PendingOnce), 1},
		"the vendor never does":  {pendingFor(1000), 8},
		"the vendor refuses it":  {simulator.Processed(0).With(simulator.Refusal(404).On(1, 1000)), 8},
		"it fails at the vendor": {simulator.Failed(schema.StatusProcessingFailed, 0).With(stage.PendingOnce), 1},
	} {
		for kind, made := range outcome {
			t.Run(name+", "+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := withRealIntervals(t, consumer.Nak)
					id := uuid.NewString()
					s.Vendor.Declare(id, tt.script)
					declared := time.Now()
					s.DeclareAs(schema.Audio, id)
					s.Start()
					s.WaitPollsOf(id, 1)
					o := made(id, declared.Add(-time.Hour).UTC())
					data, err := o.Marshal()
					s.Check(err)
					s.Publish(ns.OutcomeSubject(o), string(data))
					s.WaitDrained()
					s.WantOutcomes(ns.OutcomeSubject(o))
					s.gaps(id, declared, 1+tt.polls)
				})
			})
		}
	}
}

// A worker polls an interaction under its second type because its read lacks both declared messages. It does not
// remember that: the next read shows the first message, and the second one waits for its outcome.
func TestNaksDoNotRememberAnOldRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := withRealIntervals(t, consumer.Nak)
		id := s.Declare(schema.Audio, pendingFor(1000))
		lane := ns.PollConsumer(schema.Audio)
		s.Check(s.Fake.Puller(ns.StreamDeclared(), lane).Pull(1, time.Second, func(broker.Delivery) {}))
		time.Sleep(time.Millisecond)
		s.DeclareAs(schema.Chat, id)
		s.Fake.Inject(fake.Fault{Op: fake.Next, Object: ns.StreamDeclared(), Stale: fake.MaxStale})
		w := s.Start()
		time.Sleep(20 * time.Second) // the first message waits for AckWait
		if s.Fake.Uninject() != 0 {
			t.Error("no read was old")
		}
		if n := s.Vendor.CountOf(id); n != 0 {
			t.Errorf("%d polls of the second message, want none", n)
		}
		if w.Stats().NotPolled < 2 {
			t.Error("the second message was not delivered again")
		}
	})
}
