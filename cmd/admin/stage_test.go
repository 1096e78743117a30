package admin_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/admin"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/publisher"
	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// testStage is a stage with one worker and its admin server.
type testStage struct {
	*stage.Stage
	*page
	out *publisher.Publisher
}

// page sends requests to an admin server.
type page struct {
	t      testing.TB
	ctx    context.Context
	server *admin.Server
}

// parts are the parts of a stage that a test can replace.
type parts struct {
	*stage.Stage
	client consumer.StatusClient
	log    *logrus.Logger // the server's
}

// inspectEvery is how often the first worker of a stage inspects the broker.
const inspectEvery = 200 * time.Millisecond

func newStage(t *testing.T, mode consumer.Mode, change ...func(*parts)) *testStage {
	t.Helper()
	metrics := admin.NewMetrics(ns, "v1.2.3", "go1.26")
	server, err := admin.ListenFast("127.0.0.1:0", metrics, 10*time.Second, inspectEvery)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s := &testStage{page: &page{t, t.Context(), server}}
	s.serves("/livez", http.StatusOK, "ok")
	s.serves("/readyz", http.StatusServiceUnavailable, "starting")
	server.Waiting("waiting for a test")
	s.serves("/readyz", http.StatusServiceUnavailable, "waiting for a test")
	// Metrics exist before there is a worker.
	waiting := s.families()
	for _, name := range []string{
		"ready", "broker_connected", "dead_letters_total", "contradictions_total", "delivery_errors_total",
		"panics_total",
	} {
		if f := waiting["statusworker_"+name]; f == nil || value(f, nil) != 0 {
			t.Errorf("%s is %v before there is a worker, want 0", name, f)
		}
	}

	log := logrus.New()
	log.SetOutput(io.Discard)
	s.Stage = stage.New(t, stage.Options{Mode: mode, Worker: consumer.Config{
		NotFoundGrace: time.Second, Deadline: 20 * time.Second, Observer: metrics, Log: log,
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
	req.Header.Set("Accept-Encoding", "identity") // compression would take most of the time
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

// await waits for an answer with this code and text.
func (s *page) await(path string, code int, text string) {
	s.t.Helper()
	for {
		got, body := s.get(path)
		if got == code && strings.Contains(body, text) {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-s.ctx.Done():
			s.t.Fatalf("%s: %d %q, want %d and %q", path, got, body, code, text)
		}
	}
}

// families scrapes the metrics, and returns them by name.
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

// value returns the sum of the samples of a family that have these labels.
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

// awaitValue waits for a value of a metric.
func (s *page) awaitValue(name string, labels map[string]string, wanted func(float64) bool) {
	s.t.Helper()
	for {
		got := value(s.families()[name], labels)
		if wanted(got) {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-s.ctx.Done():
			s.t.Fatalf("%s%v is %v", name, labels, got)
		}
	}
}

// metric waits for a value of a metric of statusworker.
func (s *page) metric(name string, l labels, wanted func(float64) bool) {
	s.t.Helper()
	s.awaitValue("statusworker_"+name, l, wanted)
}

func more(than float64) func(float64) bool { return func(v float64) bool { return v > than } }
func exactly(n float64) func(float64) bool { return func(v float64) bool { return v == n } }

type labels = map[string]string
