package admin

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/publisher"
	"statusworker/schema"
)

// watched has what a scrape reads from.
type watched struct {
	worker   *consumer.Worker
	outcomes *publisher.Publisher
	nc       *nats.Conn
	fleet    *fleetReporter
}

// scrape collects metrics at each scrape. Before there is a worker, it reports readiness, the connection, and counters
// of 0, so that Prometheus sees later increases.
type scrape struct{ server *Server }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

var (
	descNotPolled = describe("deliveries_not_polled_total",
		"Deliveries that were not polled: too early or too late for a request, a pause, or the rate limit.")
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
	descDeclaredWaits = describe("declared_waits_total",
		"Times that a declared message waited because the tombstone or last due message of an ended generation "+
			"was stored.")
	descIntakeBlocked = describe("intake_blocked",
		"1 while the worker takes in no declared message, because the reservations have no room for more.")
	descUnackedcomes = describe("processed_events_total",
		"Processed events that this worker stored.", "destination")
	descDead        = describe("dead_letters_total", "Dead letters that this worker stored.", "reason")
	descContradicts = describe("contradictions_total",
		"Outcomes dropped because a different outcome of the same generation is stored.")
	descRetries = describe("publish_retries_total",
		"Publishes of outcomes that failed and were retried.")
	descUnknownStatus = describe("unknown_statuses_total",
		"Answers with an unknown status that --failed-status does not name.")
	descRejected = describe("reservations_rejected_total",
		"Reservations that the broker rejected, including those that were stored at a retry.")
	descDropped = describe("deliveries_dropped_total",
		"Deliveries of interactions that had ended, or that another worker had taken over.")
	descErrors = describe("delivery_errors_total",
		"Deliveries that ended in an error or a panic; they are redelivered.")
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
		"Fastest answer of the broker at the last measurement of its clock, every 10 s.")
	descClockOffset = describe("broker_clock_offset_seconds",
		"How far the broker's clock is ahead of this host's.")
	descClockStep = describe("broker_clock_step_seconds",
		"Last step of the broker's clock, positive if forward. A new leader with another clock counts as a step.")
	descClockSteps = describe("broker_clock_steps_total",
		"Steps of the broker's clock that this worker measured.")
	descOldestPolled = describe("oldest_polled_seconds",
		"Age of the oldest interaction that this worker polled recently.", "lane")
	descWorkers = describe("workers", "Workers that were alive at this worker's last count.")
	descDue     = describe("lane_due",
		"Due interactions that no worker has taken. Reported by one worker for all.", "lane")
	descUnacked = describe("lane_unacked",
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
	descUndelivered = describe("undelivered_seconds",
		"Age of the first stored message that its consumer does not deliver, or 0. Reported by one worker for all.",
		"stream", "consumer")
	descOverdue = describe("overdue_reservations",
		"Reservations that the broker has not published a minute after their due time, at most 100. "+
			"Reported by one worker for all.")
	descStoredAgain = describe("reservations_stored_again_total",
		"Overdue reservations that this worker stored again.")
	descClaimed = describe("claimed_messages_total",
		"Stored messages that the broker did not deliver, and that this worker took to handle them.")
	descProgress = describe("progress_timestamp_seconds", "When the slowest loop last made progress.")
)

// Describe sends nothing, so the registry checks the metrics only when they are collected.
func (scrape) Describe(chan<- *prometheus.Desc) {}

// sink is where a scrape sends its metrics.
type sink chan<- prometheus.Metric

func (s sink) count(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// flag reports a condition as 1 or 0.
func (s sink) flag(d *prometheus.Desc, v bool, labels ...string) {
	if v {
		s.gauge(d, 1, labels...)
	} else {
		s.gauge(d, 0, labels...)
	}
}

// timestamp reports a time in seconds since the epoch, or 0 for the zero time.
func (s sink) timestamp(d *prometheus.Desc, t time.Time) {
	if t.IsZero() {
		s.gauge(d, 0)
	} else {
		s.gauge(d, float64(t.UnixMilli())/1000)
	}
}

// Collect implements [prometheus.Collector].
func (s scrape) Collect(out chan<- prometheus.Metric) {
	to := sink(out)
	w, nc := s.server.watched.Load(), s.server.nc.Load()
	to.flag(descReady, s.server.Ready() == nil)
	to.flag(descConnected, nc != nil && nc.IsConnected())
	var stats consumer.Stats
	var outcomes publisher.Stats
	var reconnects uint64
	if w != nil {
		stats, outcomes = w.worker.Stats(), w.outcomes.Stats()
	}
	if nc != nil {
		reconnects = nc.Stats().Reconnects
	}
	to.count(descReconnects, reconnects)
	to.counters(stats, outcomes)
	if w == nil {
		return
	}
	to.worker(w.worker, stats)
	if o := w.fleet.current(); o != nil {
		to.lanes(o)
		to.report(o)
		to.consumers(o.Consumers)
	}
}

// counters reports the counters, which are 0 before there is a worker.
func (s sink) counters(stats consumer.Stats, outcomes publisher.Stats) {
	for _, t := range schema.Types() {
		s.count(descTakenIn, stats.Lanes[t].TakenIn, string(t))
	}
	s.count(descNotPolled, stats.NotPolled)
	s.count(descTwice, stats.DeclaredTwice)
	s.count(descProcessed, stats.DeclaredProcessed)
	s.count(descDeclaredWaits, stats.DeclaredWaits)
	s.count(descUnknownStatus, stats.UnknownStatus)
	s.count(descRejected, stats.RejectedReservations)
	s.count(descStoredAgain, stats.StoredAgain)
	s.count(descClaimed, stats.Claimed)
	s.count(descDropped, stats.Dropped)
	s.count(descErrors, stats.DeliveryErrors)
	s.count(descPanics, stats.Panics)
	s.count(descClockSteps, stats.ClockSteps)
	for _, cause := range breaker.Failures() {
		s.count(descPauses, stats.Pauses[cause], string(cause))
	}
	for _, d := range schema.Destinations() {
		s.count(descUnackedcomes, outcomes.Processed[d], string(d))
	}
	for _, r := range schema.Reasons() {
		s.count(descDead, outcomes.Failed[r], string(r))
	}
	s.count(descContradicts, outcomes.Contradictions)
	s.count(descRetries, outcomes.Retries)
}

// worker reports the state of the worker.
func (s sink) worker(w *consumer.Worker, stats consumer.Stats) {
	for t, l := range stats.Lanes {
		lane := string(t)
		s.gauge(descInFlight, float64(l.Polling), lane)
		s.flag(descSlotWaits, l.WaitingForSlot, lane)
		s.gauge(descOldestPolled, l.Oldest.Seconds(), lane)
	}
	s.gauge(descSlots, float64(stats.SlotsUsed), "used")
	s.gauge(descSlots, float64(stats.Slots), "total")
	s.flag(descIntakeBlocked, stats.IntakeBlocked)
	s.gauge(descRateLimitWaits, float64(stats.RateLimitWaiting))
	s.gauge(descRateLimitShare, stats.RateLimitShare)
	s.gauge(descWorkers, float64(stats.LiveWorkers))
	b := w.Breaker()
	for _, state := range []schema.WorkerState{schema.Working, schema.Paused, schema.Probing} {
		s.flag(descState, b.State == state, string(state))
	}
	for _, cause := range breaker.Failures() {
		s.flag(descPauseCause, b.Cause == cause, string(cause))
	}
	s.timestamp(descPausedUntil, b.Until)
	s.gauge(descRoundTrip, stats.RoundTrip.Seconds())
	s.gauge(descClockOffset, w.ClockOffset().Seconds())
	s.gauge(descClockStep, stats.ClockStep.Seconds())
	if at := w.Progress(); !at.IsZero() {
		s.timestamp(descProgress, at)
	}
}

// lanes reports the state of the lanes and of the intake.
func (s sink) lanes(o *overview.Overview) {
	for _, l := range o.Lanes {
		lane := string(l.Type)
		s.gauge(descDue, float64(l.Due), lane)
		s.gauge(descUnacked, float64(l.Unacked), lane)
		s.gauge(descRedelivered, float64(l.Redelivered), lane)
		s.gauge(descOldest, l.OldestSeconds, lane)
		if o.Redelivery == consumer.Schedule {
			s.gauge(descOldestDue, l.DueSeconds, lane)
		}
		if l.Waiting != nil {
			s.gauge(descWaiting, float64(*l.Waiting), lane)
		}
	}
	if o.Overdue != nil {
		s.gauge(descOverdue, float64(o.Overdue.Count))
	}
	if o.Intake != nil {
		s.gauge(descIntake, float64(o.Intake.Waiting))
		s.gauge(descIntakeOldest, o.Intake.WaitingSeconds)
	}
}

// report reports foreign consumers and undelivered messages. It also reports 0, so that an alert ends.
func (s sink) report(o *overview.Overview) {
	set := consumer.Topology(consumer.Config{Namespace: o.Namespace}, consumer.Choices{Mode: o.Redelivery})
	for _, stream := range set.Streams {
		if stream.Retention != jetstream.WorkQueuePolicy {
			continue
		}
		n := 0
		for _, f := range o.Foreign {
			if f.Stream == stream.Name {
				n = f.Consumers
			}
		}
		s.gauge(descForeign, float64(n), stream.Name)
	}
	for _, c := range set.Consumers {
		age := 0.0
		for _, u := range o.Undelivered {
			if u.Stream == c.Stream && u.Consumer == c.Config.Durable {
				age = o.At.Sub(u.Stored).Seconds()
			}
		}
		s.gauge(descUndelivered, age, c.Stream, c.Config.Durable)
	}
}
