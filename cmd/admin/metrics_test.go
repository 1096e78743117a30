package admin_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// Each metric of normal work changes.
func TestMetrics(t *testing.T) {
	t.Parallel()
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, mode)
			s.await("/readyz", http.StatusOK, "ok")
			s.checkWork()
			s.checkFleet()
			s.checkPause()
			s.checkBroker()
			s.server.Stopping()
			s.serves("/readyz", http.StatusServiceUnavailable, "stopping")
			s.serves("/livez", http.StatusOK, "ok")
			s.metric("ready", nil, exactly(0))
		})
	}
}

// checkWork checks the metrics of polls and outcomes.
func (s *testStage) checkWork() {
	never := simulator.Never()
	processed := s.Declare(schema.Audio, simulator.Processed(time.Second))
	s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, time.Second))
	s.DeclareAs(schema.Transcript, uuid.NewString()) // unknown to the vendor
	s.Declare(schema.Transcript, simulator.Constant("paused"))
	s.Declare(schema.Chat, never, `"type":"twice"`)
	s.Declare(schema.Chat, never)

	s.metric("processed_events_total", labels{"destination": "transcript"}, exactly(1))
	s.metric("processed_events_total", labels{"destination": "cxai"}, exactly(1))
	for _, reason := range []string{"processing_failed", "not_found", "invalid_message"} {
		s.metric("dead_letters_total", labels{"reason": reason}, exactly(1))
	}
	s.metric("declared_to_outcome_seconds", labels{"lane": "audio"}, exactly(1))
	s.metric("polls_total", labels{"lane": "audio", "result": "processed"}, exactly(1))
	s.metric("polls_total", labels{"lane": "chat", "result": "failed"}, exactly(1))
	s.metric("polls_total", labels{"lane": "chat", "result": "pending"}, more(3))
	s.metric("polls_total", labels{"lane": "transcript", "result": "not_found"}, more(0))
	s.metric("poll_duration_seconds", labels{"lane": "chat"}, more(3))
	s.metric("poll_lateness_seconds", labels{"lane": "chat"}, more(2))
	s.metric("unknown_statuses_total", nil, more(0))
	s.metric("oldest_polled_seconds", labels{"lane": "chat"}, more(1))
	s.metric("workers", nil, exactly(1))
	s.metric("broker_connected", nil, exactly(1))
	s.metric("ready", nil, exactly(1))
	s.metric("broker_round_trip_seconds", nil, more(0))
	s.metric("progress_timestamp_seconds", nil, more(float64(time.Now().Add(-time.Minute).Unix())))
	s.metric("slots", labels{"state": "total"}, exactly(64))
	s.metric("build_info", labels{"version": "v1.2.3"}, exactly(1))
	s.metric("worker_state", labels{"state": "working"}, exactly(1))
	s.metric("pause_cause", nil, exactly(0))
	s.metric("rate_limit_share", nil, exactly(0)) // there is no limit
	if s.Mode == consumer.Schedule {
		s.metric("taken_in_total", labels{"lane": "transcript"}, exactly(2))
		twice := s.Declare(schema.Chat, simulator.Processed(2*time.Second))
		s.WaitPollsOf(twice, 1)
		s.DeclareAs(schema.Chat, twice)
		s.metric("declared_twice_total", nil, exactly(1)) // counted when the outcome is stored
		s.DeclareAs(schema.Audio, processed)
		s.metric("declared_processed_total", nil, exactly(1))
	}
}

// checkFleet checks the metrics that one worker reports for all.
func (s *testStage) checkFleet() {
	s.metric("lane_oldest_seconds", labels{"lane": "chat"}, more(0))
	s.metric("lane_unacked", nil, more(-1))
	if s.Mode == consumer.Nak {
		s.metric("lane_redelivered", labels{"lane": "chat"}, more(0))
	} else {
		s.metric("lane_waiting", labels{"lane": "chat"}, more(0))
		s.metric("intake_waiting", nil, exactly(0))
	}
	s.serves("/statusz", http.StatusOK, `"redelivery":"`+string(s.Mode)+`"`)
}

// checkPause checks the metrics while the vendor fails.
func (s *testStage) checkPause() {
	s.Declare(schema.Audio, simulator.Never().With(simulator.Fault{Kind: simulator.Hangs}))
	s.metric("polls_in_flight", labels{"lane": "audio"}, exactly(1))
	if s.Mode == consumer.Nak {
		s.metric("deliveries_not_polled_total", nil, more(0)) // its first delivery is too early
	}
	s.Vendor.SetFaults(simulator.Refusal(http.StatusUnauthorized))
	s.metric("polls_total", labels{"result": "unauthorized"}, more(0))
	s.metric("pauses_total", labels{"cause": "unauthorized"}, exactly(1))
	s.metric("worker_state", labels{"state": "working"}, exactly(0))
	s.metric("pause_cause", labels{"cause": "unauthorized"}, exactly(1))
	s.metric("paused_until_timestamp_seconds", nil, more(0))
	s.serves("/livez", http.StatusOK, "ok")
	s.serves("/readyz", http.StatusOK, "ok") // while the vendor fails, workers are ready
	s.Vendor.SetFaults()
}

// checkBroker checks the metrics while the broker is stopped, and after it has started again.
func (s *testStage) checkBroker() {
	s.Server.Stop()
	s.await("/readyz", http.StatusServiceUnavailable, "not connected to NATS")
	s.serves("/statusz", http.StatusServiceUnavailable, "not connected to NATS")
	s.serves("/livez", http.StatusOK, "ok")
	s.metric("broker_connected", nil, exactly(0))
	s.metric("ready", nil, exactly(0))
	s.Check(s.Server.StartAgain())
	s.await("/readyz", http.StatusOK, "ok")
	s.metric("broker_reconnects_total", nil, more(0))
	s.Declare(schema.Chat, simulator.Never()) // the other interactions may have ended
	s.metric("worker_state", labels{"state": "working"}, exactly(1))
}

// Names and units follow the conventions of Prometheus. No label has an identifier, and the number of series does not
// depend on the number of interactions.
func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.await("/readyz", http.StatusOK, "ok")
	series := func() (n int) {
		for name, f := range s.families() {
			if !strings.HasPrefix(name, "statusworker_") {
				continue
			}
			for _, m := range f.GetMetric() {
				n++
				for _, l := range m.GetLabel() {
					if _, err := uuid.Parse(l.GetValue()); err == nil {
						t.Errorf("%s has the label %s=%s", name, l.GetName(), l.GetValue())
					}
				}
			}
		}
		return n
	}
	s.await("/metrics", http.StatusOK, "statusworker_lane_due")
	before := series()
	const interactions = 60
	for i := range interactions {
		script := simulator.Processed(0)
		if i%5 == 0 {
			script = simulator.Constant(schema.Status(fmt.Sprintf("paused%d", i)))
		}
		s.Declare(schema.Types()[i%3], script)
	}
	s.awaitValue("statusworker_polls_total", nil, more(interactions-1))
	if after := series(); after != before {
		t.Errorf("%d series after %d interactions, %d before", after, interactions, before)
	}
	_, body := s.get("/metrics")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "statusworker_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// docs/metrics.md lists every metric, and no other.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Metrics\n")
	documented := map[string]bool{}
	for line := range strings.Lines(table) {
		columns := strings.Split(line, "|")
		if len(columns) == 5 && strings.HasPrefix(strings.TrimSpace(columns[1]), "`") {
			for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(columns[1], -1) {
				documented["statusworker_"+name[1]] = true
			}
		}
	}
	s := newStage(t, consumer.Schedule)
	_, err = s.JS.CreateConsumer(s.Ctx, ns.StreamOutcomes(), jetstream.ConsumerConfig{Durable: "transcripts"})
	s.Check(err)
	s.await("/metrics", http.StatusOK, "statusworker_outcomes_unread")
	for name := range s.families() {
		if strings.HasPrefix(name, "statusworker_") && !documented[name] {
			t.Errorf("%s is not documented", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("%s is documented, and does not exist", name)
	}
}

// The metrics show which durable consumers of outcomes do not keep up. Of many consumers, they show those with the
// oldest unread outcomes.
func TestMetricsOfConsumers(t *testing.T) {
	t.Parallel()
	const most = 20
	s := newStage(t, consumer.Schedule)
	create := func(name string) {
		t.Helper()
		_, err := s.JS.CreateConsumer(s.Ctx, ns.StreamOutcomes(), jetstream.ConsumerConfig{
			Durable: name, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy,
		})
		s.Check(err)
	}
	create("behind")
	s.Publish(ns.FailedSubject(schema.NotFound, uuid.NewString()), "{}")
	behind := labels{"consumer": "behind"}
	s.metric("outcomes_unread", behind, exactly(1))
	s.metric("outcomes_unread_oldest_seconds", behind, more(0))
	s.metric("outcomes_max_age_seconds", nil, exactly(publisher.DefaultMaxAge.Seconds()))
	for n := range most + 5 {
		create(fmt.Sprint("another-", n))
	}
	s.Until("the metrics of most consumers", func() bool {
		return len(s.families()["statusworker_outcomes_unread"].GetMetric()) >= most
	})
	s.metric("outcomes_unread", behind, exactly(1))
	for _, name := range []string{"outcomes_unread", "outcomes_unread_oldest_seconds"} {
		if n := len(s.families()["statusworker_"+name].GetMetric()); n != most {
			t.Errorf("%s has %d series, want %d", name, n, most)
		}
	}
	s.serves("/statusz", http.StatusOK, `"name":"behind","unread":1,`)
}
