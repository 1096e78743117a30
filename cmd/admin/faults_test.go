package admin_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/consumer/redelivery"
	"statusworker/integration/stage"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// panics is a status client that panics once.
type panics struct {
	consumer.StatusClient
	once sync.Once
}

func (p *panics) Status(ctx context.Context, id string, sendBy time.Time) (schema.Answer, error) {
	p.once.Do(func() { panic("once") })
	return p.StatusClient.Status(ctx, id, sendBy)
}

// Each metric that changes only after a fault or under load.
func TestMetricsOfFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*parts)
		run    func(*testStage)
	}{
		"slots":                     {func(p *parts) { p.Config.Concurrency = 4 }, useSlots},
		"rate limit":                {func(p *parts) { p.Config.MaxPollsPerSecond = 2 }, reachRateLimit},
		"a panic":                   {func(p *parts) { p.client = &panics{StatusClient: p.client} }, panicOnce},
		"no stream of outcomes":     {nil, loseOutcomes},
		"messages of other clients": {nil, publishAsOther},
		"declared again at once":    {func(p *parts) { p.Config.Intervals.Audio = time.Second }, declareAgain},
		"a storage limit":           {func(p *parts) { p.Config.OverdueAfter = time.Second }, limitStorage},
		"paused consumers":          {nil, pauseConsumers},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var changes []func(*parts)
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			s := newStage(t, consumer.Schedule, changes...)
			s.await("/readyz", http.StatusOK, "ok")
			tt.run(s)
		})
	}
}

func useSlots(s *testStage) {
	for range 3 {
		s.Declare(schema.Chat, simulator.Never().With(simulator.Fault{Kind: simulator.Hangs}))
	}
	s.metric("slots", labels{"state": "used"}, more(0))
	s.metric("slot_waits", labels{"lane": "chat"}, exactly(1))
}

func reachRateLimit(s *testStage) {
	for range 12 {
		s.Declare(schema.Chat, simulator.Never())
		s.Declare(schema.Audio, simulator.Never())
	}
	s.metric("rate_limit_share", nil, exactly(2))
	s.metric("rate_limit_waiting", nil, more(0))
}

func panicOnce(s *testStage) {
	s.Declare(schema.Chat, simulator.Processed(0))
	s.metric("panics_total", nil, exactly(1))
	s.metric("processed_events_total", labels{"destination": "cxai"}, exactly(1))
}

func loseOutcomes(s *testStage) {
	s.Declare(schema.Chat, simulator.Processed(2*time.Second))
	s.metric("taken_in_total", labels{"lane": "chat"}, exactly(1)) // it reads the stream
	s.Check(s.JS.DeleteStream(s.ctx, ns.StreamOutcomes()))
	s.metric("publish_retries_total", nil, more(0))
	s.metric("delivery_errors_total", nil, more(0))
	set := publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge})
	_, err := provisioning.Create(s.ctx, s.JS, set)
	s.Check(err)
	s.metric("processed_events_total", labels{"destination": "cxai"}, exactly(1))
}

func publishAsOther(s *testStage) {
	id := s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, time.Second))
	s.Publish(ns.ProcessedSubject(schema.ToCXAI, id), "{}")
	s.metric("contradictions_total", nil, exactly(1))
	// A due message of an earlier generation, while a later one has a reservation.
	id = s.Declare(schema.Chat, simulator.Never())
	s.metric("polls_total", labels{"result": "pending"}, more(2))
	s.PublishMessage(broker.Publication{
		Subject: ns.PollSubject(schema.Chat, id), Data: stage.Declaration(schema.Chat, id),
		Header: broker.Header{
			schema.HeaderPoll:       {"1"},
			schema.HeaderGeneration: {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano) + " 1 1"},
		},
	})
	s.metric("reservations_rejected_total", nil, more(0))
	s.metric("deliveries_dropped_total", nil, more(0))
}

func declareAgain(s *testStage) {
	id := s.Declare(schema.Audio, simulator.Failed(schema.StatusProcessingFailed, 0))
	// A declared message waits if it comes within one poll interval after the outcome. A slow machine may miss that.
	for n := 1; value(s.families()["statusworker_declared_waits_total"], nil) == 0; n++ {
		s.WaitOutcomes(n)
		s.DeclareAs(schema.Audio, id)
		s.WaitOutcomes(n + 1)
	}
}

func limitStorage(s *testStage) {
	s.Declare(schema.Chat, simulator.Never())
	s.metric("polls_total", labels{"lane": "chat"}, more(0))
	s.Check(s.Server.LimitStorage(1))
	s.Until("an overdue reservation", func() bool {
		for _, err := range redelivery.FindOverdue(s.ctx, s.Broker, ns, time.Now(), time.Second) {
			s.Check(err)
			return true
		}
		return false
	})
	s.Check(s.Server.LimitStorage(-1))
	s.metric("reservations_stored_again_total", nil, more(0))
	s.metric("overdue_reservations", nil, exactly(0))
}

func pauseConsumers(s *testStage) {
	s.Declare(schema.Chat, simulator.Never())
	s.metric("polls_total", labels{"lane": "chat"}, more(0))
	for stream, name := range map[string]string{
		ns.StreamPolls(): ns.PollConsumer(schema.Chat), ns.StreamDeclared(): ns.ConsumerIntake(),
	} {
		_, err := s.JS.PauseConsumer(s.ctx, stream, name, time.Now().Add(time.Hour))
		s.Check(err)
	}
	s.Declare(schema.Chat, simulator.Never())
	s.metric("lane_due", labels{"lane": "chat"}, exactly(1))
	s.metric("lane_oldest_due_seconds", labels{"lane": "chat"}, more(0))
	s.metric("intake_waiting", nil, exactly(1))
	s.metric("intake_oldest_seconds", nil, more(0))
}

// Foreign consumers and undelivered messages are reported as metrics, and logged once.
func TestStreamProblems(t *testing.T) {
	t.Parallel()
	log, logged := test.NewNullLogger()
	s := newStage(t, consumer.Schedule, func(p *parts) {
		p.log = log
		source := &jetstream.StreamSource{Name: ns.StreamPolls()}
		cfg := jetstream.StreamConfig{Name: "COPY", Sources: []*jetstream.StreamSource{source}}
		_, err := p.JS.CreateStream(p.Ctx, cfg)
		p.Check(err)
		p.Publish(ns.DeclaredSubject(schema.Chat, uuid.NewString()), "")
		reset := jetstream.DefaultAPIPrefix + "CONSUMER.RESET." + ns.StreamDeclared() + "." + ns.ConsumerIntake()
		m, err := p.NC.RequestWithContext(p.Ctx, reset, []byte(`{"seq":1000}`))
		p.Check(err)
		if strings.Contains(string(m.Data), `"error"`) {
			t.Fatalf("resetting the consumer: %s", m.Data)
		}
	})
	s.metric("foreign_consumers", labels{"stream": ns.StreamPolls()}, exactly(1))
	s.metric("foreign_consumers", labels{"stream": ns.StreamDeclared()}, exactly(0))
	s.metric("undelivered_seconds",
		labels{"stream": ns.StreamDeclared(), "consumer": ns.ConsumerIntake()}, more(0))
	s.metric("undelivered_seconds",
		labels{"stream": ns.StreamPolls(), "consumer": ns.PollConsumer(schema.Chat)}, exactly(0))
	var streams []any
	s.Until("two log lines", func() bool { // they follow the metrics
		streams = nil
		for _, e := range logged.AllEntries() {
			if e.Level == logrus.ErrorLevel {
				streams = append(streams, e.Data["stream"])
			}
		}
		return len(streams) >= 2
	})
	if !slices.Equal(streams, []any{ns.StreamPolls(), ns.StreamDeclared()}) {
		t.Errorf("logged errors about %v, want one about each stream", streams)
	}
}
