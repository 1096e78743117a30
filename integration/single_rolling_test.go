package integration

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"statusworker/consumer"
	"statusworker/integration/harness"
)

// Three workers under load are replaced one by one, as in a rollout: each new worker starts before an old one stops.
// Nothing is lost, no poll is too early, and due polls are not delayed.
func TestSingleRollingRestart(t *testing.T) {
	t.Parallel()
	server := harness.StartServer(t)
	s := newScenario(t, setting{
		name: "rolling-restart", url: server.URL, mode: consumer.Schedule,
		env: []string{longAge},
	})
	const workers, rounds, perSecond = 3, 2, 30
	s.startThree()
	var all []interaction
	for round := 0; len(all) < 800; round++ {
		all = append(all, processed(time.Duration(2+round%6)*time.Second)...)
	}
	for _, i := range all {
		s.expect(i)
	}
	waiting := endless(60) // so that there are polls, however long the restarts take
	s.declareAll(waiting)
	declared := make(chan error, 1)
	go func() { declared <- s.declareAtRate(all, perSecond) }()

	var lateness histogram
	for n := range workers * rounds {
		// Enough polls between two restarts for each worker to take part.
		harness.Check(t, s.vendor.WaitPolls(s.ctx, s.vendor.Count()+150))
		s.start()
		old := s.workers[n]
		lateness.add(s.lateness(old))
		harness.Check(t, old.Term())
		if code, err := old.Wait(s.ctx); err != nil || code != 0 {
			t.Errorf("worker %d exited with code %d (%v), want 0", n+1, code, err)
		}
	}
	harness.Check(t, <-declared)
	s.end(waiting)
	harness.Check(t, s.oracle.Await(s.ctx, s.want))
	for _, w := range s.workers[workers*rounds:] {
		lateness.add(s.lateness(w))
	}
	s.finish()
	if lateness.count == 0 {
		t.Fatal("no poll was measured")
	}
	note(
		t,
		"scenario=rolling-restart restarts=%d polls_measured=%d lateness_p50<=%vs lateness_p99<=%vs",
		workers*rounds,
		lateness.count,
		lateness.quantile(0.5),
		lateness.quantile(0.99),
	)
}

// histogram is the sum of histograms with the same buckets.
type histogram struct {
	bounds []float64
	counts []uint64 // cumulative
	count  uint64
}

func (h *histogram) add(f *dto.MetricFamily) {
	for _, m := range f.GetMetric() {
		d := m.GetHistogram()
		if h.bounds == nil {
			for _, b := range d.GetBucket() {
				h.bounds = append(h.bounds, b.GetUpperBound())
			}
			h.counts = make([]uint64, len(h.bounds))
		}
		for i, b := range d.GetBucket() {
			h.counts[i] += b.GetCumulativeCount()
		}
		h.count += d.GetSampleCount()
	}
}

// quantile returns the upper bound of the bucket that contains a quantile.
func (h *histogram) quantile(q float64) float64 {
	i := slices.IndexFunc(h.counts, func(n uint64) bool { return float64(n) >= q*float64(h.count) })
	if i < 0 {
		return math.Inf(1)
	}
	return h.bounds[i]
}

// lateness scrapes the histogram of how late a worker polled.
func (s *scenario) lateness(w *harness.Process) *dto.MetricFamily {
	s.t.Helper()
	families, err := metricsOf(s.ctx, w)
	harness.Check(s.t, err)
	return families["statusworker_poll_lateness_seconds"]
}

var adminAddress = regexp.MustCompile(`admin"?[=:]"?([0-9.]+:[0-9]+)`)

// metricsOf scrapes the metrics of a worker.
func metricsOf(ctx context.Context, w *harness.Process) (map[string]*dto.MetricFamily, error) {
	line, err := w.AwaitLine(ctx, adminAddress.String())
	if err != nil {
		return nil, err
	}
	address := adminAddress.FindStringSubmatch(line)[1]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", req.URL, err)
	}
	return families, nil
}
