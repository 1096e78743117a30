// Package admin serves what operators and their machines ask a worker: metrics, liveness, readiness.
package admin

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/publisher"
	"statusworker/schema"
)

const namespace = "statusworker_"

// Metrics are a worker's measures for Prometheus, in a registry of their own. What the worker counts anyway is read
// when it is scraped; only times are noted as they pass. No label has an identifier, or any value from outside.
type Metrics struct {
	registry *prometheus.Registry
	lanes    map[schema.Type]*laneMetrics
}

var _ consumer.Observer = (*Metrics)(nil)

// laneMetrics are the measures of a lane with their labels looked up: that costs more than to count.
type laneMetrics struct {
	polls      map[consumer.Result]prometheus.Counter
	took, late prometheus.Observer
	toOutcome  prometheus.Observer
}

// Buckets. A poll lasts from some milliseconds to its time-out, 10 s by default; lateness is under a second when all is
// well; an outcome comes after seconds to the deadline of a day.
var (
	pollBuckets    = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	lateBuckets    = []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800}
	outcomeBuckets = []float64{5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400}
)

// NewMetrics makes the measures of a worker of this version, which was built with that Go.
func NewMetrics(version, goVersion string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), lanes: map[schema.Type]*laneMetrics{}}
	build := prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: namespace + "build_info", Help: "Always 1; the labels have the version."},
		[]string{"version", "goversion"},
	)
	build.WithLabelValues(version, goVersion).Set(1)
	polls := prometheus.NewCounterVec(
		prometheus.CounterOpts{Name: namespace + "polls_total", Help: "Status requests, by result."},
		[]string{"lane", "result"},
	)
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Name: namespace + name, Help: help, Buckets: buckets},
			[]string{"lane"},
		)
	}
	took := histogram("poll_duration_seconds", "Duration of status requests.", pollBuckets)
	late := histogram(
		"poll_lateness_seconds",
		"Time from a delivery's due time to its poll. With redelivery nak, of a sample.",
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
	m.registry.MustRegister(build, polls, took, late, toOutcome,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Polled is for the worker.
func (m *Metrics) Polled(t schema.Type, result consumer.Result, took, late time.Duration) {
	l := m.lanes[t]
	l.polls[result].Inc()
	l.took.Observe(took.Seconds())
	if late >= 0 {
		l.late.Observe(late.Seconds())
	}
}

// Ended is for the worker.
func (m *Metrics) Ended(t schema.Type, age time.Duration) {
	m.lanes[t].toOutcome.Observe(age.Seconds())
}

// watched is what the scrape reads from.
type watched struct {
	worker   *consumer.Worker
	outcomes *publisher.Publisher
	nc       *nats.Conn
	fleet    *fleet
}

// scrape reads counters and states when it is asked. Before there is a worker it tells that none is ready, whether
// there is a connection, and counters of nothing: what is counted from zero on is seen to grow.
type scrape struct{ server *Server }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+name, help, labels, nil)
}

var (
	descNotSent = describe("polls_not_sent_total",
		"Deliveries that were not polled: too late or too early, a pause, or the rate limit.")
	descInFlight = describe("polls_in_flight", "Status requests in flight.", "lane")
	descSlots    = describe("slots",
		"Deliveries that the worker can handle at once, total and used.", "state")
	descSlotWaits      = describe("slot_waits", "1 while the lane waits for a slot.", "lane")
	descRateLimitWaits = describe("rate_limit_waiting", "Deliveries that wait for the rate limit.")
	descRateLimitShare = describe("rate_limit_share",
		"Polls per second that this worker may make; 0 without a rate limit.")
	descTakenIn = describe("taken_in_total",
		"Declared messages that got their first reservation.", "lane")
	descTwice = describe("declared_twice_total",
		"Declared messages without effect: the interaction was declared before and had no outcome.")
	descProcessed = describe("declared_processed_total",
		"Declared messages without effect: the interaction has processed events.")
	descAgain = describe("declared_again_total",
		"Times that a declared message waited for the end of an earlier generation of its interaction.")
	descOutcomes = describe("processed_events_total",
		"Processed events that this worker stored.", "destination")
	descDead        = describe("dead_letters_total", "Dead letters that this worker stored.", "reason")
	descContradicts = describe("contradictions_total",
		"Outcomes dropped because the opposite outcome is stored.")
	descRetries = describe("publish_retries_total",
		"Publishes of outcomes that failed and were retried.")
	descUnknownStatus = describe("unknown_statuses_total", "Answers with an undocumented status.")
	descRefused       = describe("reservations_refused_total",
		"Reservations that the broker rejected, for whatever reason.")
	descDropped = describe("deliveries_dropped_total",
		"Deliveries of interactions that had ended, or that another worker had taken over.")
	descFaults = describe("faults_total", "Deliveries that ended in an error; they are redelivered.")
	descPanics = describe("panics_total",
		"Deliveries that panicked; they are redelivered, until a third in a row ends the interaction.")
	descState      = describe("worker_state", "1 for the current state of the worker.", "state")
	descPauseCause = describe("pause_cause",
		"1 for the cause while the worker is paused or probing.", "cause")
	descPausedUntil = describe("paused_until_timestamp_seconds",
		"When the worker polls again; 0 while it is working.")
	descPauses     = describe("pauses_total", "Pauses that began, by cause.", "cause")
	descReady      = describe("ready", "1 while /readyz answers 200.")
	descConnected  = describe("broker_connected", "1 while the worker is connected to NATS.")
	descReconnects = describe("broker_reconnects_total", "Reconnects to NATS.")
	descRoundTrip  = describe("broker_round_trip_seconds",
		"Fastest answer of the broker at the last measurement of its clock, every 30 s.")
	descClockOffset = describe("broker_clock_offset_seconds",
		"How far the broker's clock is ahead of this host's.")
	descClockStep = describe("broker_clock_step_seconds",
		"Last step of the broker's clock, or from one leader's clock to another's; positive forward.")
	descClockSteps = describe("broker_clock_steps_total",
		"Steps of the broker's clock that this worker measured.")
	descOldestPolled = describe("oldest_polled_seconds",
		"Age of the oldest interaction that this worker polled lately.", "lane")
	descWorkers = describe("workers", "Workers that were alive at this worker's last count.")
	descDue     = describe("lane_due",
		"Interactions that may be polled and that no worker has. Reported by one worker for all.", "lane")
	descOut = describe("lane_out",
		"Deliveries that a worker has; with redelivery nak also what waits. Reported by one worker for all.", "lane")
	descWaiting = describe("lane_waiting",
		"Reservations and tombstones. Reported by one worker for all.", "lane")
	descOldestDue = describe("lane_oldest_due_seconds",
		"How long the first delivery of the lane has been due. Reported by one worker for all.", "lane")
	descOldest = describe("lane_oldest_seconds",
		"Age of the oldest known interaction of the lane. Reported by one worker for all.", "lane")
	descRedelivered = describe("lane_redelivered",
		"Deliveries that a worker has, and that were delivered before. Reported by one worker for all.", "lane")
	descIntake = describe("intake_waiting",
		"Declared messages that wait to be taken in. Reported by one worker for all.")
	descIntakeOldest = describe("intake_oldest_seconds",
		"Age of the first declared message. Reported by one worker for all.")
	descForeign = describe("foreign_consumers",
		"Consumers of a work queue that are not statusworker's. Reported by one worker for all.", "stream")
	descUndelivered = describe(
		"undelivered_seconds",
		"Age of the first stored message that its consumer does not deliver, or 0. Reported by one worker for all.",
		"stream",
		"consumer",
	)
	descOverdue = describe(
		"overdue_reservations",
		"Reservations that the broker has not published a minute after their due time, at most 100. Reported by one worker for all.",
	)
	descStoredAgain = describe("reservations_stored_again_total",
		"Overdue reservations that this worker stored again.")
	descProgress = describe("progress_timestamp_seconds", "When the slowest loop last made progress.")
)

// Describe gives nothing: what is collected is checked as it comes.
func (scrape) Describe(chan<- *prometheus.Desc) {}

// Collect reads what there is.
func (s scrape) Collect(out chan<- prometheus.Metric) {
	value := func(kind prometheus.ValueType, d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		value(prometheus.CounterValue, d, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) { value(prometheus.GaugeValue, d, v, labels...) }
	is := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}

	w, nc := s.server.watched.Load(), s.server.nc.Load()
	gauge(descReady, is(s.server.ready() == nil))
	gauge(descConnected, is(nc != nil && nc.IsConnected()))
	var st consumer.Stats
	var outcomes publisher.Stats
	var reconnects uint64
	if w != nil {
		st, outcomes = w.worker.Stats(), w.outcomes.Stats()
	}
	if nc != nil {
		reconnects = nc.Stats().Reconnects
	}
	for _, t := range schema.Types() {
		count(descTakenIn, st.Lanes[t].TakenIn, string(t))
	}
	count(descNotSent, st.Skipped)
	count(descTwice, st.DeclaredTwice)
	count(descProcessed, st.DeclaredProcessed)
	count(descAgain, st.DeclaredAgain)
	count(descUnknownStatus, st.UnknownStatus)
	count(descRefused, st.RefusedReservations)
	count(descStoredAgain, st.StoredAgain)
	count(descDropped, st.Dropped)
	count(descFaults, st.Faults)
	count(descPanics, st.Panics)
	for _, d := range schema.Destinations() {
		count(descOutcomes, outcomes.Processed[d], string(d))
	}
	for _, r := range schema.Reasons() {
		count(descDead, outcomes.Failed[r], string(r))
	}
	count(descContradicts, outcomes.Contradictions)
	count(descRetries, outcomes.Retries)
	for _, cause := range breaker.Failures() {
		count(descPauses, st.Pauses[cause], string(cause))
	}
	count(descReconnects, reconnects)
	count(descClockSteps, st.ClockSteps)
	if w == nil {
		return
	}

	for t, l := range st.Lanes {
		lane := string(t)
		gauge(descInFlight, float64(l.Polling), lane)
		gauge(descSlotWaits, is(l.WaitingForSlot), lane)
		gauge(descOldestPolled, l.Oldest.Seconds(), lane)
	}
	gauge(descSlots, float64(st.SlotsUsed), "used")
	gauge(descSlots, float64(st.Slots), "total")
	gauge(descRateLimitWaits, float64(st.RateLimitWaiting))
	gauge(descRateLimitShare, st.Share)
	gauge(descWorkers, float64(st.Alive))
	rest := w.worker.Breaker()
	for _, state := range []schema.WorkerState{schema.Working, schema.Paused, schema.Probing} {
		gauge(descState, is(rest.State == state), string(state))
	}
	for _, cause := range breaker.Failures() {
		gauge(descPauseCause, is(rest.Cause == cause), string(cause))
	}
	until := 0.0
	if !rest.Until.IsZero() {
		until = float64(rest.Until.UnixMilli()) / 1000
	}
	gauge(descPausedUntil, until)
	gauge(descRoundTrip, st.RoundTrip.Seconds())
	gauge(descClockOffset, w.worker.ClockOffset().Seconds())
	gauge(descClockStep, st.ClockStep.Seconds())
	if at := w.worker.Progress(); !at.IsZero() {
		gauge(descProgress, float64(at.UnixMilli())/1000)
	}
	sv := w.fleet.lately()
	if sv == nil {
		return
	}
	for _, l := range sv.Lanes {
		lane := string(l.Type)
		gauge(descDue, float64(l.Due), lane)
		gauge(descOut, float64(l.Out), lane)
		gauge(descRedelivered, float64(l.Redelivered), lane)
		gauge(descOldest, l.OldestSeconds, lane)
		if sv.Redelivery == consumer.Schedule {
			gauge(descOldestDue, l.DueSeconds, lane)
		}
		if l.Waiting != nil {
			gauge(descWaiting, float64(*l.Waiting), lane)
		}
	}
	s.report(sv, gauge)
	if sv.Overdue != nil {
		gauge(descOverdue, float64(sv.Overdue.Count))
	}
	if sv.Intake != nil {
		gauge(descIntake, float64(sv.Intake.Waiting))
		gauge(descIntakeOldest, sv.Intake.WaitingSeconds)
	}
}

// report tells of what takes messages away from the consumers, and of what these do not deliver: also where there is
// nothing, so that an alert ends.
func (scrape) report(sv *overview.Overview, gauge func(*prometheus.Desc, float64, ...string)) {
	set := consumer.Topology(consumer.Config{}, consumer.Choices{Mode: sv.Redelivery})
	for _, stream := range set.Streams {
		if stream.Retention != jetstream.WorkQueuePolicy {
			continue
		}
		n := 0
		for _, f := range sv.Foreign {
			if f.Stream == stream.Name {
				n = f.Consumers
			}
		}
		gauge(descForeign, float64(n), stream.Name)
	}
	for _, c := range set.Consumers {
		age := 0.0
		for _, u := range sv.Undelivered {
			if u.Stream == c.Stream && u.Consumer == c.Config.Durable {
				age = sv.At.Sub(u.Stored).Seconds()
			}
		}
		gauge(descUndelivered, age, c.Stream, c.Config.Durable)
	}
}
