package advice

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/schema"
	"statusworker/schema/topology"
)

const (
	// laneBehind is for how long something may be due: longer than the redelivery after a worker's death takes.
	laneBehind = 30 * time.Second
	// intakeBehind is longer: a declared message may have to wait for the end of an earlier generation of its
	// interaction.
	intakeBehind = 90 * time.Second
	// usedUp is the share of a rate limit from which the limit is the reason that a lane is behind.
	usedUp = 0.8
)

// Overview says in sentences what needs an operator: one sentence for each problem, the gravest first.
func Overview(o overview.Overview) []string {
	n := &notes{}
	if err := o.Provisioned(); err != nil {
		n.add("%v", Missing(err))
	}
	if o.Redelivery == "" {
		return n.all
	}
	for _, f := range o.Foreign {
		n.add("%s; find the stream that sources or mirrors it (`nats stream report`) and delete it", f)
	}
	for _, u := range o.Undelivered {
		n.add("%s; `%s` has them delivered", u, UpdateCommand(o.Redelivery, consumer.Config{}))
	}
	workers := n.workers(o)
	n.overdue(o.Overdue)
	n.intake(o.Intake)
	n.lanes(o, workers)
	return n.all
}

// notes are sentences.
type notes struct{ all []string }

func (n *notes) add(format string, args ...any) { n.all = append(n.all, fmt.Sprintf(format, args...)) }

// workers returns the workers whose announcements could be read, and nothing where none of them polls.
func (n *notes) workers(o overview.Overview) []overview.Worker {
	var readable, paused []overview.Worker
	for _, w := range o.Workers {
		if !w.Readable() {
			n.add("worker %s: %s; is it of another version?", w.Worker, w.Problem)
			continue
		}
		readable = append(readable, w)
		if w.State != schema.Working {
			paused = append(paused, w)
		}
	}
	if len(o.Workers) == 0 && !slices.Contains(o.Missing, topology.StreamObject(schema.StreamWorkers)) {
		n.add("no worker is alive: nothing is polled; start `statusworker run`")
	}
	for _, cause := range distinct(paused, func(w overview.Worker) string { return w.Cause }) {
		n.add("%s", pause(cause, paused, len(readable)))
	}
	for _, of := range []struct {
		what  string
		value func(overview.Worker) string
	}{
		{"--max-polls-per-second, and must not", func(w overview.Worker) string { return rateLimit(w.RateLimit) }},
		{"version", func(w overview.Worker) string { return w.Version }},
	} {
		if values := distinct(readable, of.value); len(values) > 1 {
			n.add("workers differ in %s: %s", of.what, strings.Join(values, ", "))
		}
	}
	if len(paused) == len(readable) {
		return nil
	}
	return readable
}

func (n *notes) intake(i *overview.Intake) {
	switch {
	case i == nil:
	case i.PausedUntil != nil:
		n.add("the intake is paused until %s: declared messages wait; %s",
			i.PausedUntil.UTC().Format(time.RFC3339), resume(schema.StreamDeclared, schema.ConsumerIntake))
	case i.WaitingSeconds > intakeBehind.Seconds():
		n.add("the intake is behind: %s, the first for %s",
			count(i.Waiting+uint64(i.Out), "waits", "wait"), age(i.WaitingSeconds))
	}
}

// lanes looks at what lanes wait for. Without workers that poll, another sentence gives the
// reason.
func (n *notes) lanes(o overview.Overview, workers []overview.Worker) {
	for _, l := range o.Lanes {
		if l.PausedUntil != nil {
			n.add(
				"lane %s is paused until %s: none of it is polled; %s",
				l.Type,
				l.PausedUntil.UTC().Format(
					time.RFC3339,
				),
				resume(o.Redelivery.PollStream(), schema.PollConsumer(l.Type)),
			)
		}
	}
	if len(workers) == 0 {
		return
	}
	fix := "start more workers, or give them more --concurrency"
	var polls float64
	for _, w := range workers {
		polls += w.PollsPerSecond
	}
	if most := workers[0].RateLimit; most > 0 && polls >= usedUp*most {
		fix = fmt.Sprintf("%.1f of %s polls/s are made: raise --max-polls-per-second, or use --stretch",
			polls, rateLimit(most))
	}
	for _, l := range o.Lanes {
		if l.DueSeconds > laneBehind.Seconds() && l.PausedUntil == nil {
			n.add("lane %s is behind: %s, the first for %s; %s", l.Type,
				count(l.Due+uint64(l.Out), "is due", "are due"), age(l.DueSeconds), fix)
		}
	}
}

// FixOverdue says what to do about overdue reservations.
const FixOverdue = "workers store them again within two minutes; if the number does not fall, free storage or raise " +
	"its limits, then run `nats stream cluster step-down " + schema.StreamPolls + "` (a single server: restart it)"

func (n *notes) overdue(o *overview.Overdue) {
	if o == nil || o.Count == 0 {
		return
	}
	many := count(uint64(o.Count), "reservation is", "reservations are")
	if o.More {
		many = fmt.Sprintf("%d or more reservations are", o.Count)
	}
	n.add("%s overdue, the first for %s: the broker does not publish them, and their interactions are not polled; %s",
		many, age(o.FirstSeconds), FixOverdue)
}

func resume(stream, name string) string {
	return "`nats consumer resume " + stream + " " + name + "` ends that"
}

// pause describes the workers that do not poll for one cause.
func pause(cause string, paused []overview.Worker, readable int) string {
	var of []overview.Worker
	for _, w := range paused {
		if w.Cause == cause {
			of = append(of, w)
		}
	}
	who := fmt.Sprintf("%d of %d workers paused", len(of), readable)
	if len(of) == readable {
		who = "every worker paused: nothing is polled"
	}
	last := ""
	if detail := of[0].Detail; detail != "" {
		last = "; last: " + detail
	}
	switch breaker.Failure(cause) {
	case breaker.Unauthorized:
		return who + " (unauthorized): check the API token" + last
	case breaker.Refused:
		return who + " (refused): ElevateAI refuses every interaction; check --base-url and the account of the API token" +
			last
	case breaker.Throttled:
		return who + " (throttled)" + until(of) + ": wait, or set --max-polls-per-second" + last
	case breaker.Unavailable:
		return who + " (unavailable)" + until(of) + ": polls go on when ElevateAI answers a probe" + last
	}
	return fmt.Sprintf("%s (%s)%s", who, cause, last)
}

// until says when the first of some workers polls again.
func until(paused []overview.Worker) string {
	var first time.Time
	for _, w := range paused {
		if w.Until != nil && (first.IsZero() || w.Until.Before(first)) {
			first = *w.Until
		}
	}
	if first.IsZero() {
		return ""
	}
	return " until " + first.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// distinct are the values of some workers, sorted.
func distinct(ws []overview.Worker, of func(overview.Worker) string) []string {
	var values []string
	for _, w := range ws {
		if v := of(w); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return values
}

func rateLimit(b float64) string {
	if b == 0 {
		return "none"
	}
	return fmt.Sprintf("%g", b)
}

func count(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func age(seconds float64) string { return (time.Duration(seconds) * time.Second).String() }
