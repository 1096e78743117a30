package consumer_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// panicky panics at its first polls.
type panicky struct {
	consumer.StatusClient
	left atomic.Int64
}

func (p *panicky) Status(ctx context.Context, id string, sendBy time.Time) (schema.Answer, error) {
	if p.left.Add(-1) >= 0 {
		panic("as the test requires")
	}
	return p.StatusClient.Status(ctx, id, sendBy)
}

func TestPanicsAreContained(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		client := &panicky{StatusClient: s.Client()}
		client.left.Store(3)
		w := s.Start(stage.Ports{Client: client})
		for range 5 {
			s.Declare(schema.Chat, simulator.Processed(0))
		}
		s.WaitOutcomes(5)
		s.WaitDrained()
		if n := w.Stats().Panics; n != 3 {
			t.Errorf("%d panics counted, want 3", n)
		}
	})
}

// refusing fails at its first publishes.
type refusing struct {
	consumer.OutcomePublisher
	left atomic.Int64
}

func (r *refusing) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	if r.left.Add(-1) >= 0 {
		return broker.ErrNoAnswer
	}
	return r.OutcomePublisher.Publish(ctx, outcomes...)
}

func TestUnpublishedOutcomeIsRetried(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		out := &refusing{OutcomePublisher: s.Publisher()}
		out.left.Store(4)
		s.Start(stage.Ports{Outcomes: out})
		for range 3 {
			s.Declare(schema.Chat, simulator.Processed(0))
		}
		s.WaitOutcomes(3)
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// halfway publishes only the first of the outcomes at its first call, and makes the vendor forget the interaction.
type halfway struct {
	consumer.OutcomePublisher
	vendor *simulator.Simulator
	once   sync.Once
}

func (h *halfway) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	first := false
	h.once.Do(func() { first = true })
	if !first {
		return h.OutcomePublisher.Publish(ctx, outcomes...)
	}
	h.vendor.Forget(outcomes[0].Identifier)
	return errors.Join(h.OutcomePublisher.Publish(ctx, outcomes[0]), broker.ErrNoAnswer)
}

// A success of which only one event is stored is completed, although the vendor no longer knows the interaction.
func TestHalfASuccessIsCompleted(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.NotFoundGrace = time.Millisecond })
		s.Start(stage.Ports{Outcomes: &halfway{OutcomePublisher: s.Publisher(), vendor: s.Vendor}})
		id := s.Declare(schema.Audio, simulator.Processed(0))
		s.wantProcessed(id)
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// Messages of other publishers among the polls of an interaction do not stop it if they are due. In the place of its
// reservation they do, and the worker counts a delivery error.
func TestForeignMessagesAmongThePolls(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(id string) string{
		"due, of an unknown type": func(id string) string { return "interactions.poll.bogus." + id },
		"due":                     func(id string) string { return ns.PollSubject(schema.Audio, id) },
		"reserved":                func(id string) string { return ns.HoldSubject(schema.Chat, id) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := inMemory(t, consumer.Schedule, nil)
				id := uuid.NewString()
				s.Vendor.Declare(id, simulator.Processed(0))
				s.Publish(of(id), "nonsense")
				s.DeclareAs(schema.Chat, id)
				w := s.Start()
				if name == "reserved" {
					s.Until("a delivery error", func() bool { return w.Stats().DeliveryErrors > 0 })
					return
				}
				s.waitOutcomeOn(ns.ProcessedSubject(schema.ToCXAI, id)) // beside the invalid message's dead letter
			})
		})
	}
}

// Each log line about an interaction has its identifier in a field.
func TestLogNamesTheInteraction(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		log, entries := logtest.NewNullLogger()
		log.SetLevel(logrus.DebugLevel)
		s := inMemory(t, mode, func(c *consumer.Config) { c.Log = log })
		client, out := &panicky{StatusClient: s.Client()}, &refusing{OutcomePublisher: s.Publisher()}
		client.left.Store(1)
		out.left.Store(1)
		unknown := simulator.Fault{Kind: simulator.OtherStatus, Status: "unknown"}.On(1, 1)
		id := s.Declare(schema.Chat, simulator.Processed(0).With(unknown, simulator.Refusal(429).On(2, 2)))
		s.Start(stage.Ports{Client: client, Outcomes: out})
		s.WaitOutcomes(1)
		s.WaitDrained()
		s.DeclareAs(schema.Chat, id)
		s.WaitDrained()
		named := map[string]bool{}
		for _, e := range entries.AllEntries() {
			switch e.Data["interaction"] {
			case id:
				named[e.Message] = true
			case nil:
			default:
				t.Errorf("%q names %v, want %s", e.Message, e.Data["interaction"], id)
			}
		}
		for _, message := range []string{
			"delivery panicked", "operation failed; it will be retried", "unknown status; it counts as pending",
			"polling paused", "declared message dropped; the interaction is already processed",
			"processed event stored",
		} {
			if !named[message] {
				t.Errorf("no line %q names the interaction", message)
			}
		}
	})
}
