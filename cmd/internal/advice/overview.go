package advice

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"statusworker/cmd/internal/permissions"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/schema"
	"statusworker/schema/topology"
)

const (
	// laneBehind is how long a delivery may be due: longer than the redelivery after the crash of a worker takes.
	laneBehind = 30 * time.Second
	// intakeBehind is how long a declared message may wait. It is longer than laneBehind, because a declared message
	// may have to wait until an earlier generation of its interaction has ended.
	intakeBehind = 90 * time.Second
	// usedUp is the used share of the rate limit from which the limit is the reason that a lane is behind.
	usedUp = 0.8
)

// NATS returns the beginning of each `nats` command that operators should run: `nats` reads no variable for its inbox,
// and the shipped user may subscribe to this one only.
func NATS(n schema.Namespace) string {
	return "nats --inbox-prefix " + permissions.Inbox(n, "operator") + " "
}

// Overview returns what needs an operator: one sentence for each problem, the most severe first.
func Overview(o overview.Overview) []string {
	n := &notes{names: o.Namespace}
	if err := o.Provisioned(); err != nil {
		n.add("%v", Missing(err))
	}
	if o.Redelivery == "" {
		return n.all
	}
	for _, f := range o.Foreign {
		n.add("%s; find the stream that sources or mirrors it (`%sstream report`) and delete it", f, NATS(n.names))
	}
	update := UpdateCommand(o.Redelivery, consumer.Config{Namespace: o.Namespace})
	for _, u := range o.Undelivered {
		n.add("%s; %s", u, Undelivered(o.Redelivery, update))
	}
	workers := n.workers(o)
	n.overdue(o.Overdue)
	n.intake(o.Intake, update)
	n.lanes(o, workers)
	n.consumers(o.Consumers)
	for _, subject := range o.Denied {
		n.add("unknown whether the consumers of %s keep up: allow the user to publish to %s; docs/permissions.md "+
			"lists the permissions", o.Namespace.StreamOutcomes(), subject)
	}
	return n.all
}

// Undelivered returns what to do about stored messages that their consumer does not deliver; update is the command that
// recreates the consumer.
func Undelivered(mode consumer.Mode, update string) string {
	advice := "`" + update + "` makes the consumer deliver them"
	if mode == consumer.Schedule {
		return "a worker handles them within three minutes; if it does not, " + advice
	}
	return advice
}

// notes collects sentences.
type notes struct {
	names schema.Namespace
	all   []string
}

func (n *notes) add(format string, args ...any) { n.all = append(n.all, fmt.Sprintf(format, args...)) }

// workers returns the workers whose announcements are readable, or nil if all of these are paused.
func (n *notes) workers(o overview.Overview) []overview.Worker {
	var readable, paused []overview.Worker
	for _, w := range o.Workers {
		if !w.Readable() {
			n.add("the state of worker %s is unknown: %s; run the same version of statusworker on every worker",
				w.Worker, w.Problem)
			continue
		}
		readable = append(readable, w)
		if w.State != schema.Working {
			paused = append(paused, w)
		}
	}
	if len(o.Workers) == 0 && !slices.Contains(o.Missing, topology.StreamObject(o.Namespace.StreamWorkers())) {
		n.add("no worker is alive: nothing is polled; start `%s`", Command(n.names, "run"))
	}
	for _, cause := range distinct(paused, func(w overview.Worker) string { return w.Cause }) {
		n.add("%s", pause(cause, paused, len(readable), o.At))
	}
	limits := distinct(readable, func(w overview.Worker) string { return rateLimit(w.RateLimit) })
	if len(limits) > 1 {
		n.add("workers have different values of --max-polls-per-second (%s), so their shares of it are wrong; "+
			"set the same value on each", strings.Join(limits, ", "))
	}
	if versions := distinct(readable, func(w overview.Worker) string { return w.Version }); len(versions) > 1 {
		n.add("workers run different versions: %s; finish the upgrade", strings.Join(versions, ", "))
	}
	if len(paused) == len(readable) {
		return nil
	}
	return readable
}

func (n *notes) intake(i *overview.Intake, update string) {
	switch {
	case i == nil:
	case i.PausedUntil != nil:
		n.add("the consumer %s is paused until %s: new interactions are not polled; %s",
			n.names.ConsumerIntake(), i.PausedUntil.UTC().Format(time.RFC3339),
			Resume(n.names, n.names.StreamDeclared(), n.names.ConsumerIntake()))
	case i.NoRoom:
		n.add("%s has no room for more interactions: the intake is blocked, and %s; wait until interactions end, or "+
			"raise the limit with `%s --polls-max-bytes N`", n.names.StreamPolls(),
			count(i.Waiting, "declared message waits", "declared messages wait"), update)
	case i.WaitingSeconds > intakeBehind.Seconds():
		n.add("the intake is late: %s to be taken in, the oldest for %s; `statusworker doctor` checks NATS, and "+
			"/readyz of each worker says why it takes none",
			count(i.Waiting+uint64(i.Unacked), "declared message waits", "declared messages wait"),
			age(i.WaitingSeconds))
	}
}

// lanes reports lanes whose consumer is paused, and lanes that are behind. Without workers that poll, another
// sentence has the reason.
func (n *notes) lanes(o overview.Overview, workers []overview.Worker) {
	for _, l := range o.Lanes {
		if l.PausedUntil != nil {
			until := l.PausedUntil.UTC().Format(time.RFC3339)
			name := o.Namespace.PollConsumer(l.Type)
			n.add("the consumer %s is paused until %s: %s interactions are not polled; %s", name, until, l.Type,
				Resume(o.Namespace, o.Redelivery.PollStream(o.Namespace), name))
		}
	}
	if len(workers) == 0 {
		return
	}
	fix := "start more workers, or raise --concurrency"
	var polls float64
	for _, w := range workers {
		polls += w.PollsPerSecond
	}
	if limit := workers[0].RateLimit; limit > 0 && polls >= usedUp*limit {
		fix = fmt.Sprintf("%.1f of %s polls/s are used: raise --max-polls-per-second, or use --stretch",
			polls, rateLimit(limit))
	}
	for _, l := range o.Lanes {
		if l.DueSeconds > laneBehind.Seconds() && l.PausedUntil == nil {
			n.add("lane %s is late: %s, the oldest for %s; %s", l.Type,
				count(l.Due+uint64(l.Unacked), "poll is due", "polls are due"), age(l.DueSeconds), fix)
		}
	}
}

// consumers reports consumers of outcomes that will miss some.
func (n *notes) consumers(all []overview.Consumer) {
	for _, c := range all {
		if !c.ExpiresSoon() {
			continue
		}
		why := "start its service, or delete the consumer if nothing uses it"
		if c.PausedUntil != nil {
			why = "it is paused until " + c.PausedUntil.UTC().Format(time.RFC3339)
		}
		n.add("consumer %s of %s has not acknowledged %s, and NATS deletes the oldest in %s: %s; or keep outcomes "+
			"longer: `%s`", schema.Quote(c.Name), n.names.StreamOutcomes(),
			count(c.Unread, "outcome", "outcomes"), age(c.LeftSeconds()), why,
			Command(n.names, "provision --max-age AGE --update"))
	}
}

// FixOverdue returns what to do about overdue reservations.
func FixOverdue(n schema.Namespace) string {
	return "workers store them again within two minutes; if the number does not fall, free storage or raise its " +
		"limits, then run `" + NATS(n) + "stream cluster step-down " + n.StreamPolls() + "` (single server: restart it)"
}

func (n *notes) overdue(o *overview.Overdue) {
	if o == nil || o.Count == 0 {
		return
	}
	many := count(uint64(o.Count), "reservation is", "reservations are")
	if o.More {
		many = fmt.Sprintf("%d or more reservations are", o.Count)
	}
	n.add("%s overdue, the oldest for %s: the broker has not published them, and their interactions are not polled; %s",
		many, age(o.FirstSeconds), FixOverdue(n.names))
}

// Resume says how to resume a paused NATS consumer.
func Resume(n schema.Namespace, stream, name string) string {
	return "resume it with `" + NATS(n) + "consumer resume " + stream + " " + name + "`"
}

// pause describes the workers that are paused for one cause.
func pause(cause string, paused []overview.Worker, readable int, now time.Time) string {
	var of []overview.Worker
	for _, w := range paused {
		if w.Cause == cause {
			of = append(of, w)
		}
	}
	state, polled := "paused", "nothing is polled"
	if !slices.ContainsFunc(of, func(w overview.Worker) bool { return w.State == schema.Paused }) {
		state, polled = "probing", "each sends one poll at a time"
	}
	who, effect := fmt.Sprintf("%d of %d workers %s (%s)", len(of), readable, state, cause), ": "
	if len(of) == readable {
		who, effect = fmt.Sprintf("all workers %s (%s)", state, cause), ": "+polled+"; "
	}
	last := ""
	if detail := of[0].Detail; detail != "" {
		last = "; last failure: " + detail
	}
	switch breaker.Failure(cause) {
	case breaker.Unauthorized:
		return who + effect + "replace the API token" + last
	case breaker.Refused:
		return who + effect + "ElevateAI refuses every interaction; check --base-url and the account of the API token" +
			last
	case breaker.Throttled:
		return who + until(of, now) + effect + "wait, or set a lower --max-polls-per-second" + last
	case breaker.Unavailable:
		return who + until(of, now) + effect + "they resume without help; `statusworker doctor` shows what fails" + last
	}
	return who + last
}

// until returns when the first of some workers polls again. The pauses of probing workers are over.
func until(paused []overview.Worker, now time.Time) string {
	var first time.Time
	for _, w := range paused {
		if w.Until != nil && w.Until.After(now) && (first.IsZero() || w.Until.Before(first)) {
			first = *w.Until
		}
	}
	if first.IsZero() {
		return ""
	}
	return " until " + first.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// distinct returns the distinct values of some workers, sorted.
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
