// Package admin serves the metrics, liveness, readiness and status of a worker over HTTP.
package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"statusworker/consumer"
	"statusworker/schema"
)

const (
	prefix = "statusworker_"
	// labelNamespace is a label of all metrics with the prefix. Prometheus sets `namespace` to that of Kubernetes.
	labelNamespace = "nats_namespace"
)

// Metrics are the Prometheus metrics of a worker. They have their own registry. A scrape reads the worker's own
// counters; only polls and outcomes are recorded as they happen. No label has an identifier, or another value from a
// message or from the vendor.
type Metrics struct {
	registry *prometheus.Registry
	// labelled registers metrics with the label of the namespace.
	labelled prometheus.Registerer
	lanes    map[schema.Type]*laneMetrics
}

var _ consumer.Observer = (*Metrics)(nil)

// laneMetrics are the metrics of a lane, with their labels resolved once, because that costs more than counting.
type laneMetrics struct {
	polls      map[consumer.Result]prometheus.Counter
	took, late prometheus.Observer
	toOutcome  prometheus.Observer
}

// Buckets in seconds. A poll lasts from milliseconds to its timeout, 10 s by default. Polls are normally less than a
// second late. An outcome takes from seconds to the deadline, 24 h by default.
var (
	pollBuckets    = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	lateBuckets    = []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800}
	outcomeBuckets = []float64{5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400}
)

// NewMetrics returns the metrics of a worker of a namespace and this version, built with this version of Go.
func NewMetrics(n schema.Namespace, version, goVersion string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), lanes: map[schema.Type]*laneMetrics{}}
	m.labelled = prometheus.WrapRegistererWith(prometheus.Labels{labelNamespace: n.String()}, m.registry)
	build := prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: prefix + "build_info", Help: "Always 1; the labels have the version."},
		[]string{"version", "goversion"},
	)
	build.WithLabelValues(version, goVersion).Set(1)
	polls := prometheus.NewCounterVec(
		prometheus.CounterOpts{Name: prefix + "polls_total", Help: "Status requests, by result."},
		[]string{"lane", "result"},
	)
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets},
			[]string{"lane"},
		)
	}
	took := histogram("poll_duration_seconds", "Duration of status requests.", pollBuckets)
	late := histogram(
		"poll_lateness_seconds",
		"Time from a delivery's due time to its poll. With redelivery nak, only of a sample.",
		lateBuckets,
	)
	toOutcome := histogram(
		"declared_to_outcome_seconds",
		"Time from the declared message to its stored outcome.",
		outcomeBuckets,
	)
	for _, t := range schema.Types() {
		lane := string(t)
		l := &laneMetrics{
			polls: map[consumer.Result]prometheus.Counter{}, took: took.WithLabelValues(lane),
			late: late.WithLabelValues(lane), toOutcome: toOutcome.WithLabelValues(lane),
		}
		for _, r := range consumer.Results() {
			l.polls[r] = polls.WithLabelValues(lane, string(r))
		}
		m.lanes[t] = l
	}
	m.labelled.MustRegister(build, polls, took, late, toOutcome)
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Polled implements [consumer.Observer].
func (m *Metrics) Polled(t schema.Type, result consumer.Result, took, late time.Duration) {
	l := m.lanes[t]
	l.polls[result].Inc()
	l.took.Observe(took.Seconds())
	if late >= 0 {
		l.late.Observe(late.Seconds())
	}
}

// Ended implements [consumer.Observer].
func (m *Metrics) Ended(t schema.Type, age time.Duration) {
	m.lanes[t].toOutcome.Observe(age.Seconds())
}
