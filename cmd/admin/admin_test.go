package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"statusworker/cmd/admin"
	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/consumer/redelivery"
	"statusworker/integration/stage"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// testStage is a stage with one worker and its admin server.
type testStage struct {
	*stage.Stage
	*page
	out *publisher.Publisher
}

// page is an admin server as a test asks it.
type page struct {
	t      testing.TB
	ctx    context.Context
	server *admin.Server
}

// parts are what a stage's worker is made of.
type parts struct {
	*stage.Stage
	client consumer.StatusClient
	log    *logrus.Logger // the server's
}

func newStage(t *testing.T, mode consumer.Mode, change ...func(*parts)) *testStage {
	t.Helper()
	metrics := admin.NewMetrics("v1.2.3", "go1.26")
	server, err := admin.Listen("127.0.0.1:0", metrics)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s := &testStage{page: &page{t, t.Context(), server}}
	s.serves("/livez", http.StatusOK, "ok")
	s.serves("/readyz", http.StatusServiceUnavailable, "starting")
	server.Waiting("waiting for godot")
	s.serves("/readyz", http.StatusServiceUnavailable, "godot")
	// The metrics show it as well, and counters that will be seen to grow.
	waiting := s.families()
	for _, name := range []string{
		"ready", "broker_connected", "dead_letters_total", "contradictions_total", "faults_total", "panics_total",
	} {
		if f := waiting["statusworker_"+name]; f == nil || value(f, nil) != 0 {
			t.Errorf("before there is a worker %s is %v, want 0", name, f)
		}
	}

	log := logrus.New()
	log.SetOutput(io.Discard)
	s.Stage = stage.New(t, stage.Options{Mode: mode, Worker: consumer.Config{
		NotFoundGrace:     time.Second,
		Deadline:          20 * time.Second,
		MaxPollsPerSecond: 1000,
		Observer:          metrics,
		Log:               log,
	}})
	s.ctx = s.Ctx
	server.Connected(s.NC)
	s.awaitValue("statusworker_broker_connected", nil, exactly(1))
	s.awaitValue("statusworker_ready", nil, exactly(0))
	s.out = s.Publisher()
	p := parts{s.Stage, s.Client(), log}
	for _, c := range change {
		c(&p)
	}
	worker := s.NewWorker(stage.Ports{Broker: s.Broker, Client: p.client, Outcomes: s.out})
	server.Watch(worker.Worker, s.out, s.JS, p.log)
	worker.Run()
	t.Cleanup(worker.End)
	return s
}

func (s *page) get(path string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "http://"+s.server.Addr()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (s *page) serves(path string, code int, text string) {
	s.t.Helper()
	if got, body := s.get(path); got != code || !strings.Contains(body, text) {
		s.t.Errorf("%s: %d %q, want %d and %q", path, got, body, code, text)
	}
}

// await asks until the answer is as wanted.
func (s *page) await(path string, code int, text string) {
	s.t.Helper()
	for {
		got, body := s.get(path)
		if got == code && strings.Contains(body, text) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.ctx.Done():
			s.t.Fatalf("%s: %d %q, want %d and %q", path, got, body, code, text)
		}
	}
}

// families are what a scrape gives, by name.
func (s *page) families() map[string]*dto.MetricFamily {
	s.t.Helper()
	_, body := s.get("/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return families
}

// value sums the samples of a family whose labels have these values.
func value(f *dto.MetricFamily, labels map[string]string) (sum float64) {
	for _, m := range f.GetMetric() {
		fits := 0
		for _, l := range m.GetLabel() {
			if labels[l.GetName()] == l.GetValue() {
				fits++
			}
		}
		if fits == len(labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// awaitValue waits until a measure is as wanted.
func (s *page) awaitValue(name string, labels map[string]string, wanted func(float64) bool) {
	s.t.Helper()
	for {
		got := value(s.families()[name], labels)
		if wanted(got) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.ctx.Done():
			s.t.Fatalf("%s%v is %v", name, labels, got)
		}
	}
}

func more(than float64) func(float64) bool { return func(v float64) bool { return v > than } }
func exactly(n float64) func(float64) bool { return func(v float64) bool { return v == n } }

type labels = map[string]string

func TestMetricsMove(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, mode)
			s.await("/readyz", http.StatusOK, "ok")
			processed, failed, never := simulator.Processed(
				time.Second,
			), simulator.Failed(
				schema.StatusProcessingFailed,
				time.Second,
			), simulator.Never()
			unknownStatus := simulator.Constant("paused")
			done := s.Declare(schema.Audio, processed)
			s.Declare(schema.Chat, failed)
			s.DeclareAs(schema.Transcript, uuid.NewString()) // unknown to the vendor
			s.Declare(schema.Transcript, unknownStatus)
			s.Declare(schema.Chat, never, `"type":"twice"`)
			stuck := s.Declare(schema.Chat, never)

			n := func(name string, l labels, wanted func(float64) bool) {
				t.Helper()
				s.awaitValue("statusworker_"+name, l, wanted)
			}
			n("processed_events_total", labels{"destination": "transcript"}, exactly(1))
			n("processed_events_total", labels{"destination": "cxai"}, exactly(1))
			n("dead_letters_total", labels{"reason": "processing_failed"}, exactly(1))
			n("dead_letters_total", labels{"reason": "not_found"}, exactly(1))
			n("dead_letters_total", labels{"reason": "invalid_message"}, exactly(1))
			n("declared_to_outcome_seconds", labels{"lane": "audio"}, exactly(1))
			n("polls_total", labels{"lane": "audio", "result": "processed"}, exactly(1))
			n("polls_total", labels{"lane": "chat", "result": "failed"}, exactly(1))
			n("polls_total", labels{"lane": "chat", "result": "pending"}, more(3))
			n("polls_total", labels{"lane": "transcript", "result": "not_found"}, more(0))
			n("poll_duration_seconds", labels{"lane": "chat"}, more(3))
			n("poll_lateness_seconds", labels{"lane": "chat"}, more(2))
			n("unknown_statuses_total", nil, more(0))
			n("oldest_polled_seconds", labels{"lane": "chat"}, more(1))
			n("workers", nil, exactly(1))
			n("broker_connected", nil, exactly(1))
			n("ready", nil, exactly(1))
			n("broker_round_trip_seconds", nil, more(0))
			n("progress_timestamp_seconds", nil, more(float64(time.Now().Add(-time.Minute).Unix())))
			n("slots", labels{"state": "total"}, exactly(64))
			n("build_info", labels{"version": "v1.2.3"}, exactly(1))
			n("worker_state", labels{"state": "working"}, exactly(1))
			n("pause_cause", nil, exactly(0))
			n("rate_limit_share", nil, exactly(1000))
			if mode == consumer.Schedule {
				n("taken_in_total", labels{"lane": "transcript"}, exactly(2))
				if _, err := s.JS.Publish(
					s.ctx,
					schema.DeclaredSubject(schema.Chat, stuck),
					[]byte(`{"interactionIdentifier":"`+stuck+`","type":"chat"}`),
				); err != nil {
					t.Fatal(err)
				}
				n("declared_twice_total", nil, exactly(1))
				if _, err := s.JS.Publish(
					s.ctx,
					schema.DeclaredSubject(schema.Audio, done),
					[]byte(`{"interactionIdentifier":"`+done+`","type":"audio"}`),
				); err != nil {
					t.Fatal(err)
				}
				n("declared_processed_total", nil, exactly(1))
			}

			n("lane_oldest_seconds", labels{"lane": "chat"}, more(0))
			n("lane_out", nil, more(-1))
			if mode == consumer.Nak {
				n("lane_redelivered", labels{"lane": "chat"}, more(0))
			} else {
				n("lane_waiting", labels{"lane": "chat"}, more(0))
				n("intake_waiting", nil, exactly(0))
			}
			s.serves("/statusz", http.StatusOK, `"redelivery":"`+string(mode)+`"`)

			hanging := simulator.Never().With(simulator.Fault{Kind: simulator.Hangs})
			s.Declare(schema.Audio, hanging)
			n("polls_in_flight", labels{"lane": "audio"}, exactly(1))
			if mode == consumer.Nak {
				n("polls_not_sent_total", nil, more(0)) // it was too young at first
			}

			s.Vendor.SetFaults(simulator.Refusal(http.StatusUnauthorized))
			n("polls_total", labels{"result": "unauthorized"}, more(0))
			n("pauses_total", labels{"cause": "unauthorized"}, exactly(1))
			n("worker_state", labels{"state": "working"}, exactly(0))
			n("pause_cause", labels{"cause": "unauthorized"}, exactly(1))
			n("paused_until_timestamp_seconds", nil, more(0))
			s.serves("/livez", http.StatusOK, "ok")
			s.serves("/readyz", http.StatusOK, "ok") // a vendor in trouble is no reason to take workers away
			s.Vendor.SetFaults()

			s.Server.Stop()
			s.await("/readyz", http.StatusServiceUnavailable, "not connected to NATS")
			s.serves("/statusz", http.StatusServiceUnavailable, "not connected to NATS")
			s.serves("/livez", http.StatusOK, "ok")
			n("broker_connected", nil, exactly(0))
			n("ready", nil, exactly(0))
			if err := s.Server.StartAgain(); err != nil {
				t.Fatal(err)
			}
			s.await("/readyz", http.StatusOK, "ok")
			n("broker_reconnects_total", nil, more(0))
			s.Declare(schema.Chat, never) // by now all others may have ended
			n("worker_state", labels{"state": "working"}, exactly(1))

			s.server.Stopping()
			s.serves("/readyz", http.StatusServiceUnavailable, "stopping")
			s.serves("/livez", http.StatusOK, "ok")
			n("ready", nil, exactly(0))
		})
	}
}

// panics is a status client that panics once.
type panics struct {
	consumer.StatusClient
	once sync.Once
}

func (p *panics) Status(ctx context.Context, id string, sendBy time.Time) (schema.Answer, error) {
	p.once.Do(func() { panic("as the test wants it") })
	return p.StatusClient.Status(ctx, id, sendBy)
}

// What TestMetricsMove does not see move takes trouble, each of its own kind.
func TestMetricsMoveInTrouble(t *testing.T) {
	never, processed := simulator.Never(), simulator.Processed(0)
	hangs := simulator.Never().With(simulator.Fault{Kind: simulator.Hangs})
	for name, tt := range map[string]struct {
		change  func(*parts)
		trouble func(s *testStage, n func(name string, l labels, wanted func(float64) bool))
	}{
		"slots": {func(p *parts) { p.Config.Concurrency = 4 }, func(s *testStage, n func(string, labels, func(float64) bool)) {
			for range 3 {
				s.Declare(schema.Chat, hangs)
			}
			n("slots", labels{"state": "used"}, more(0))
			n("slot_waits", labels{"lane": "chat"}, exactly(1))
		}},
		"the budget": {func(p *parts) { p.Config.MaxPollsPerSecond = 2 }, func(s *testStage, n func(string, labels, func(float64) bool)) {
			for range 12 {
				s.Declare(schema.Chat, never)
				s.Declare(schema.Audio, never)
			}
			n("rate_limit_share", nil, exactly(2))
			n("rate_limit_waiting", nil, more(0))
		}},
		"a panic": {func(p *parts) { p.client = &panics{StatusClient: p.client} }, func(s *testStage, n func(string, labels, func(float64) bool)) {
			s.Declare(schema.Chat, processed)
			n("panics_total", nil, exactly(1))
			n("processed_events_total", labels{"destination": "cxai"}, exactly(1))
		}},
		"no stream of outcomes": {nil, func(s *testStage, n func(string, labels, func(float64) bool)) {
			late := simulator.Processed(3 * time.Second)
			s.Declare(schema.Chat, late)
			n("taken_in_total", labels{"lane": "chat"}, exactly(1)) // which takes the stream
			if err := s.JS.DeleteStream(s.ctx, schema.StreamOutcomes); err != nil {
				s.t.Fatal(err)
			}
			n("publish_retries_total", nil, more(0))
			n("faults_total", nil, more(0))
			if _, err := provisioning.Create(s.ctx, s.JS, publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge})); err != nil {
				s.t.Fatal(err)
			}
			n("processed_events_total", labels{"destination": "cxai"}, exactly(1))
		}},
		"somebody else's messages": {nil, func(s *testStage, n func(string, labels, func(float64) bool)) {
			failed := simulator.Failed(schema.StatusProcessingFailed, time.Second)
			id := s.Declare(schema.Chat, failed)
			publish := func(m *nats.Msg) {
				if _, err := s.JS.PublishMsg(s.ctx, m); err != nil {
					s.t.Fatal(err)
				}
			}
			publish(&nats.Msg{Subject: schema.ProcessedSubject(schema.ToCXAI, id), Data: []byte("{}")})
			n("contradictions_total", nil, exactly(1))
			// A poll that is due, of an interaction whose next poll is reserved by a later life.
			id = s.Declare(schema.Chat, never)
			n("polls_total", labels{"result": "pending"}, more(2))
			publish(&nats.Msg{Subject: schema.PollSubject(schema.Chat, id), Data: fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":"chat"}`, id),
				Header: nats.Header{
					schema.HeaderPoll: {"1"}, schema.HeaderGeneration: {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)},
					schema.HeaderSequence: {"1"}, schema.HeaderDeliveries: {"1"},
				}})
			n("reservations_refused_total", nil, more(0))
			n("deliveries_dropped_total", nil, more(0))
		}},
		"declared again at once": {nil, func(s *testStage, n func(string, labels, func(float64) bool)) {
			failed := simulator.Failed(schema.StatusProcessingFailed, 0)
			id := s.Declare(schema.Audio, failed)
			n("dead_letters_total", labels{"reason": "processing_failed"}, exactly(1))
			for value(s.families()["statusworker_declared_again_total"], nil) == 0 {
				_, err := s.JS.Publish(s.ctx, schema.DeclaredSubject(schema.Audio, id), fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":"audio"}`, id))
				if err != nil && !adapter.MaxPerSubject(err) {
					s.t.Fatal(err)
				}
			}
		}},
		"a storage limit": {func(p *parts) { p.Config.OverdueAfter = time.Second }, func(s *testStage, n func(string, labels, func(float64) bool)) {
			s.Declare(schema.Chat, never)
			n("polls_total", labels{"lane": "chat"}, more(0))
			limit := func(bytes int64) {
				if err := s.Server.LimitStorage(bytes); err != nil {
					s.t.Fatal(err)
				}
			}
			limit(1)
			for overdue := false; !overdue; {
				for _, err := range redelivery.FindOverdue(s.ctx, adapter.New(s.JS), time.Now(), time.Second) {
					if err != nil {
						s.t.Fatal(err)
					}
					overdue = true
				}
			}
			limit(-1)
			n("reservations_stored_again_total", nil, more(0))
			n("overdue_reservations", nil, exactly(0))
		}},
		"a worker that is given nothing": {nil, func(s *testStage, n func(string, labels, func(float64) bool)) {
			pause := func(stream, name string) {
				if _, err := s.JS.PauseConsumer(s.ctx, stream, name, time.Now().Add(time.Hour)); err != nil {
					s.t.Fatal(err)
				}
			}
			s.Declare(schema.Chat, never)
			n("polls_total", labels{"lane": "chat"}, more(0))
			pause(schema.StreamPolls, schema.PollConsumer(schema.Chat))
			pause(schema.StreamDeclared, schema.ConsumerIntake)
			s.Declare(schema.Chat, never)
			n("lane_due", labels{"lane": "chat"}, exactly(1))
			n("lane_oldest_due_seconds", labels{"lane": "chat"}, more(0))
			n("intake_waiting", nil, exactly(1))
			n("intake_oldest_seconds", nil, more(0))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule, func(p *parts) {
				p.Config.MaxPollsPerSecond = 0 // a share is waited for
				if tt.change != nil {
					tt.change(p)
				}
			})
			s.await("/readyz", http.StatusOK, "ok")
			tt.trouble(s, func(name string, l labels, wanted func(float64) bool) {
				t.Helper()
				s.awaitValue("statusworker_"+name, l, wanted)
			})
		})
	}
}

// What takes messages away, and what no consumer delivers, shows in the measures and once in the log.
func TestStreamsOutOfOrder(t *testing.T) {
	t.Parallel()
	log, logged := test.NewNullLogger()
	s := newStage(t, consumer.Schedule, func(p *parts) { p.log = log }, func(p *parts) {
		_, err := p.JS.CreateStream(
			t.Context(),
			jetstream.StreamConfig{Name: "COPY", Sources: []*jetstream.StreamSource{{Name: schema.StreamPolls}}},
		)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.JS.Publish(t.Context(), schema.DeclaredSubject(schema.Chat, uuid.NewString()), nil); err != nil {
			t.Fatal(err)
		}
		m, err := p.JS.Conn().Request(
			jetstream.DefaultAPIPrefix+"CONSUMER.RESET."+schema.StreamDeclared+"."+schema.ConsumerIntake,
			[]byte(`{"seq":1000}`),
			5*time.Second,
		)
		if err != nil || strings.Contains(string(m.Data), `"error"`) {
			t.Fatal(m, err)
		}
	})
	s.awaitValue("statusworker_foreign_consumers", map[string]string{"stream": schema.StreamPolls}, exactly(1))
	s.awaitValue("statusworker_foreign_consumers", map[string]string{"stream": schema.StreamDeclared}, exactly(0))
	s.awaitValue(
		"statusworker_undelivered_seconds",
		map[string]string{"stream": schema.StreamDeclared, "consumer": schema.ConsumerIntake},
		more(0),
	)
	s.awaitValue(
		"statusworker_undelivered_seconds",
		map[string]string{"stream": schema.StreamPolls, "consumer": schema.PollConsumer(schema.Chat)},
		exactly(0),
	)
	var streams []any
	for len(streams) < 2 && s.ctx.Err() == nil { // the log comes after the measures
		streams = nil
		for _, e := range logged.AllEntries() {
			if e.Level == logrus.ErrorLevel {
				streams = append(streams, e.Data["stream"])
			}
		}
		runtime.Gosched()
	}
	if !slices.Equal(streams, []any{schema.StreamPolls, schema.StreamDeclared}) {
		t.Errorf("logged errors about %v, want one about each stream", streams)
	}
}

// Names and units follow Prometheus's conventions; no label has an identifier in it, and the number of series does not
// depend on how many interactions there are.
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

// A worker that is not the first tells Prometheus nothing of the fleet, whoever asks it for an overview; and many that
// ask at once are one look at the broker.
func TestOverviewsOnDemand(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.await("/metrics", http.StatusOK, "statusworker_lane_due")
	// It has not announced itself, and so is not the first.
	worker, err := consumer.New(s.ctx, adapter.New(s.JS), consumer.Schedule, nil, s.out, consumer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := admin.Listen("127.0.0.1:0", admin.NewMetrics("", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.Watch(worker, s.out, s.JS, logrus.New())
	looks := make(chan *nats.Msg, 1000)
	sub, err := s.JS.Conn().ChanSubscribe("$JS.API.STREAM.INFO."+schema.StreamOutcomes, looks)
	if err != nil {
		t.Fatal(err)
	}
	other := &page{t, s.Ctx, server}
	var asking sync.WaitGroup
	for range 200 {
		asking.Go(func() { other.serves("/statusz", http.StatusOK, `"redelivery"`) })
	}
	asking.Wait()
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if n := len(looks); n == 0 || n > 5 { // that of the first worker may be among them
		t.Errorf("%d looks at the broker, want few", n)
	}
	if f := other.families()["statusworker_lane_due"]; f != nil {
		t.Errorf("it tells %v", f)
	}
}

// Whoever reaches the port can keep so many connections, and one with a request that never ends for some seconds only.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const most, patience = 1024, 20 * time.Second
	server, err := admin.Listen("127.0.0.1:0", admin.NewMetrics("", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ask := func(header string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: worker\r\n"+header+"\r\n"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	answer := func(c net.Conn, within time.Duration) error {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1000))
		return err
	}
	for range most - 1 {
		if err := answer(ask(""), patience); err != nil {
			t.Fatal(err)
		}
	}
	ask("Content-Length: 1000\r\n")
	next := ask("")
	if err := answer(next, 300*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more than %d is answered: %v", most, err)
	}
	// There is room when the time of the one whose request never ends is up.
	if err := answer(next, patience); err != nil {
		t.Errorf("the next one gets no answer: %v", err)
	}
}

// Who asks for nothing is told what there is to ask for.
func TestListOfPages(t *testing.T) {
	t.Parallel()
	server, err := admin.Listen("127.0.0.1:0", admin.NewMetrics("", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	get := func(path string) (int, string) {
		t.Helper()
		answer, err := http.Get("http://" + server.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	code, list := get("/")
	if pages := strings.Fields(list); code != http.StatusOK || len(pages) != 4 {
		t.Fatalf("%d: %q", code, list)
	}
	for _, page := range strings.Fields(list) {
		if code, _ := get(page); code == http.StatusNotFound {
			t.Errorf("%s is listed, and not there", page)
		}
	}
	if code, _ := get("/nope"); code != http.StatusNotFound {
		t.Errorf("/nope gives %d", code)
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	m := admin.NewMetrics("", "")
	first, err := admin.Listen("127.0.0.1:0", m)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if s, err := admin.Listen(first.Addr(), m); err == nil {
		s.Close()
		t.Error("two servers listen on one address")
	}
	for _, addr := range []string{":6060", "0.0.0.0:6060", "192.0.2.1:6060", "example.org:6060", "6060", ""} {
		if s, err := admin.ListenPprof(addr); err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("profiles on %q: %v", addr, err)
			if s != nil {
				s.Close()
			}
		}
	}
	p, err := admin.ListenPprof("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := &page{t, t.Context(), p}
	s.serves("/debug/pprof/goroutine?debug=1", http.StatusOK, "goroutine profile")
	s = &page{t, t.Context(), first}
	s.serves("/debug/pprof/", http.StatusNotFound, "")
}

// docs/metrics.md names every measure, and none that is not there.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Metrics\n")
	documented := map[string]bool{}
	for line := range strings.Lines(table) {
		if columns := strings.Split(
			line,
			"|",
		); len(columns) == 5 &&
			strings.HasPrefix(strings.TrimSpace(columns[1]), "`") {
			for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(columns[1], -1) {
				documented["statusworker_"+name[1]] = true
			}
		}
	}
	s := newStage(t, consumer.Schedule)
	s.await("/metrics", http.StatusOK, "statusworker_lane_due")
	for name := range s.families() {
		if strings.HasPrefix(name, "statusworker_") && !documented[name] {
			t.Errorf("%s is not documented", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("%s is documented, and not there", name)
	}
}
