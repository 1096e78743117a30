package overview

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"statusworker/consumer"
	"statusworker/consumer/breaker"
	"statusworker/schema"
)

const (
	// behind is for how long something may be due: longer than a message takes that comes again because its worker died.
	behind = 30 * time.Second
	// intakeBehind is longer: a declared message may have to wait until an earlier generation of its interaction is over.
	intakeBehind = 90 * time.Second
	// usedUp is the share of a rate limit from which it is what holds a lane up.
	usedUp = 0.8
)

// AdviceOn says in sentences what needs an operator: one each, the gravest first. Where all is well it says nothing.
func AdviceOn(s Overview) []string {
	var advice []string
	say := func(format string, args ...any) { advice = append(advice, fmt.Sprintf(format, args...)) }
	if err := s.Provisioned(); err != nil {
		say("%v", err)
	}
	if s.Redelivery == "" {
		return advice
	}
	for _, f := range s.Foreign {
		say("%s; find the stream that sources or mirrors it (`nats stream report`) and delete it", f)
	}
	for _, u := range s.Undelivered {
		say("%s; `%s --update` has them delivered", u, consumer.ProvisionCommand(s.Redelivery, consumer.Config{}))
	}

	var alive, paused []Worker
	var polls float64
	for _, w := range s.Workers {
		if !w.alive() {
			say("worker %s: %s; is it of another version?", w.Worker, w.Problem)
			continue
		}
		alive = append(alive, w)
		polls += w.PollsPerSecond
		if w.State != schema.Working {
			paused = append(paused, w)
		}
	}
	switch {
	case len(s.Workers) == 0 && !slices.Contains(s.Missing, streamName(schema.StreamWorkers)):
		say("no worker is alive: nothing is polled; start `statusworker run`")
	case len(paused) > 0:
		for _, cause := range distinct(paused, func(w Worker) string { return w.Cause }) {
			advice = append(advice, advisePause(cause, paused, len(alive)))
		}
	}
	for _, of := range []struct {
		what string
		say  func(Worker) string
	}{
		{"--max-polls-per-second, and must not", func(w Worker) string { return rateLimitText(w.RateLimit) }},
		{"version", func(w Worker) string { return w.Version }},
	} {
		if values := distinct(alive, of.say); len(values) > 1 {
			say("workers differ in %s: %s", of.what, strings.Join(values, ", "))
		}
	}

	if overdue := s.Overdue.advise(); overdue != "" {
		advice = append(advice, overdue)
	}
	if i := s.Intake; i != nil && i.PausedUntil != nil {
		say("the intake is paused until %s: declared messages wait; %s", i.PausedUntil.UTC().Format(time.RFC3339), resume(schema.StreamDeclared, schema.ConsumerIntake))
	} else if i != nil && i.WaitingSeconds > intakeBehind.Seconds() {
		say("the intake is behind: %s, the first for %s", waiting(i.Waiting+uint64(i.Out), "waits", "wait"), age(i.WaitingSeconds))
	}
	for _, l := range s.Lanes {
		if l.PausedUntil != nil {
			say("lane %s is paused until %s: none of it is polled; %s", l.Type, l.PausedUntil.UTC().Format(time.RFC3339), resume(s.Redelivery.PollStream(), schema.PollConsumer(l.Type)))
		}
	}
	if len(alive) == 0 || len(paused) == len(alive) {
		return advice // why lanes are behind is said
	}
	for _, l := range s.Lanes {
		if l.DueSeconds <= behind.Seconds() || l.PausedUntil != nil {
			continue
		}
		fix := "start more workers, or give them more --concurrency"
		if b := alive[0].RateLimit; b > 0 && polls >= usedUp*b {
			fix = fmt.Sprintf("%.1f of %s polls/s are made: raise --max-polls-per-second, or use --stretch", polls, rateLimitText(b))
		}
		say("lane %s is behind: %s, the first for %s; %s", l.Type, waiting(l.Due+uint64(l.Out), "is due", "are due"), age(l.DueSeconds), fix)
	}
	return advice
}

func resume(stream, name string) string {
	return "`nats consumer resume " + stream + " " + name + "` ends that"
}

// advisePause tells of the workers that keep away from the vendor for one cause.
func advisePause(cause string, paused []Worker, alive int) string {
	var of []Worker
	for _, w := range paused {
		if w.Cause == cause {
			of = append(of, w)
		}
	}
	who := fmt.Sprintf("%d of %d workers rest", len(of), alive)
	if len(of) == 1 {
		who = fmt.Sprintf("1 of %d workers rests", alive)
	}
	if len(of) == alive {
		who = "every worker rests: nothing is polled"
	}
	said := ""
	if detail := of[0].Detail; detail != "" {
		said = "; at last: " + detail
	}
	switch breaker.Failure(cause) {
	case breaker.Unauthorized:
		return who + " (unauthorized): check the API token" + said
	case breaker.Refused:
		return who + " (refused): ElevateAI refuses every interaction; check --base-url and the account of the API token" + said
	case breaker.Throttled:
		return who + " (throttled)" + untilOf(of) + ": wait, or set --max-polls-per-second" + said
	case breaker.Unavailable:
		return who + " (unavailable)" + untilOf(of) + ": polls go on when ElevateAI answers a probe" + said
	}
	return fmt.Sprintf("%s (%s)%s", who, cause, said)
}

// untilOf says when the first of some workers polls again.
func untilOf(paused []Worker) string {
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
func distinct(ws []Worker, of func(Worker) string) []string {
	var values []string
	for _, w := range ws {
		if v := of(w); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return values
}

func rateLimitText(b float64) string {
	if b == 0 {
		return "none"
	}
	return fmt.Sprintf("%g", b)
}

func waiting(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func age(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}
