package explore

import (
	"slices"
	"time"

	brokerclock "statusworker/consumer/clock"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
	"statusworker/statusclient/simulator"
)

const (
	// promptly is how long after its time something that is due is polled, in addition to one interval: I5. A worker
	// waits 4 s for the answer of a request that was lost in the last moment, and has a second for the rest. One that
	// has just started waits for MaxApart before it polls what another one has reserved. The last tenth of a second is
	// for the pull.
	promptly = 5*time.Second + brokerclock.MaxApart + 100*time.Millisecond
	// intakeWait is the AckWait of the intake: a declared message that was delivered to a dead worker waits for it.
	intakeWait = 15 * time.Second
	// firing is how long a schedule takes to fire.
	firing = 400 * time.Millisecond
	// graceful is how long a worker may take to end after SIGTERM, in addition to its timeout.
	graceful = 5 * time.Second
)

// calm begins the time without faults: from now on everything that is due must be polled promptly.
func (o *oracle) calm(now time.Time) {
	o.calmSince = now
	offset := o.x.fake.Now().Sub(now.Round(0).UTC())
	for _, l := range o.interactions {
		interval := o.longest(l)
		promised, wait, polled, kept := now, interval+promptly, false, false
		for _, p := range l.polls {
			kept = kept || p.kept
			polled = polled || !p.reserved.Tombstone
			due := p.reserved.Due
			if due.IsZero() {
				continue // it is due
			}
			due = due.Add(-offset)
			if due.Before(now.Add(-firing)) || due.Before(o.x.full) && due.Before(now) { // its schedule is stuck
				wait += 5 * redelivery.OverdueAfter / 2
			} else if due.After(promised) {
				promised = now.Add(due.Sub(now.Round(0).UTC()))
			}
		}
		if !polled { // a declared message: it may wait for a tombstone, and then one interval
			wait += intakeWait + 2*interval
		}
		if kept {
			wait += 5 * redelivery.OverdueAfter / 2
		}
		l.promised = promised.Add(wait)
	}
}

// longest is the longest interval of the types under which an interaction was declared.
func (o *oracle) longest(l *interaction) time.Duration {
	longest := o.x.world.Config.Intervals.Of(l.of.Type)
	for _, d := range l.declared {
		kind, _, _ := ns.SplitSubject(d.Subject)
		longest = max(longest, o.x.world.Config.Intervals.Of(schema.Type(kind)))
	}
	return longest
}

// settled reports whether everything has ended that can end, and the rest has been polled again.
func (o *oracle) settled() bool {
	now := time.Now()
	if now.Sub(o.checked) < 500*time.Millisecond {
		return false
	}
	o.checked = now
	for _, l := range o.interactions {
		for _, d := range l.declared {
			if !d.removed && (!l.waits() || o.x.world.Mode != "nak") {
				return false
			}
		}
		switch {
		case len(l.polls) > 0 && !l.waits():
			return false
		case l.waits() && o.pollsSince(l.of.ID, o.calmSince) < 2 && o.active(l):
			return false
		}
	}
	for _, a := range o.ends {
		if !o.x.hasEnded(a) {
			return false
		}
	}
	return true
}

// waits reports whether the interaction never ends by itself within a history.
func (l *interaction) waits() bool { return l.of.never() }

// active reports whether something is stored from which the next poll follows.
func (o *oracle) active(l *interaction) bool {
	for _, p := range l.polls {
		if !p.reserved.Tombstone {
			return true
		}
	}
	return slices.ContainsFunc(l.declared, func(d *stored) bool { return !d.removed })
}

func (o *oracle) pollsSince(id string, since time.Time) (n int) {
	for _, p := range o.x.stage.Vendor.PollsOf(id) {
		if !p.At.Before(since) {
			n++
		}
	}
	return n
}

// finish checks what can be checked only at the end.
func (o *oracle) finish() {
	if len(o.x.history.Violations) > 0 {
		return
	}
	h := &o.x.history
	h.LeastGap = 1e9
	for _, i := range o.x.world.Interactions {
		l := o.interactions[i.ID]
		polls := o.x.stage.Vendor.PollsOf(i.ID)
		slices.SortStableFunc(polls, func(a, b simulator.Poll) int { return a.At.Compare(b.At) })
		h.Polls += len(polls)
		o.politeness(l, polls)
		o.promptness(l, polls)
		if i.Invalid {
			o.invalid(l, polls)
			continue
		}
		o.contract(l)
		o.truth(l, polls)
	}
	for _, a := range o.x.actors {
		if a.waits.Load() {
			o.x.violated("", "I12", "%s pulled more than it had free slots for", a.name)
		}
	}
	for _, a := range o.ends {
		if !o.x.hasEnded(a) && time.Since(a.terminated) > o.x.shutdownTimeout()+graceful {
			o.x.violated("", "I10", "%s has not ended %s after SIGTERM", a.name, time.Since(a.terminated))
		}
	}
}

func (x *engine) shutdownTimeout() time.Duration {
	if t := x.world.Config.ShutdownTimeout; t > 0 {
		return t
	}
	return 20 * time.Second
}

// politeness checks I3 and I7.
func (o *oracle) politeness(l *interaction, polls []simulator.Poll) {
	interval := o.interval(l)
	for n := range polls {
		if n == 0 {
			continue
		}
		gap := polls[n].At.Sub(polls[n-1].At)
		o.x.history.LeastGap = min(o.x.history.LeastGap, float64(gap)/float64(interval))
		if gap < interval {
			if o.x.world.Mode == "nak" && (l.unsettled || l.retyped()) {
				o.x.history.Early++
				continue
			}
			early := interval - gap
			if early <= way && o.hindered(l, polls[n-1].At, polls[n].At) || o.unmeasured(early, polls[n].At) {
				o.x.history.Hindered++
				continue
			}
			o.x.violated(l.of.ID, "I3", "polls at %s and %s are %s apart, the interval is %s", o.since(polls[n-1].At),
				o.since(polls[n].At), gap, interval)
		}
	}
	if len(polls) == 0 || len(l.declared) == 0 {
		return
	}
	lifetime := max(l.left.Sub(l.declared[0].at), polls[len(polls)-1].At.Sub(l.declared[0].at))
	if most := 1 + int(lifetime/interval); len(polls) > most && o.x.world.Mode != "nak" {
		o.x.violated(l.of.ID, "I7", "%d polls in %s", len(polls), lifetime)
	}
}

// hindered reports whether the first of two polls was slow, and another fault kept its worker from postponing the
// second one.
func (o *oracle) hindered(l *interaction, first, second time.Time) bool {
	for _, s := range l.slow {
		if first.Before(s.at) || first.Sub(s.at) > 2*way {
			continue
		}
		if slices.ContainsFunc(o.hindrances, func(t hindrance) bool {
			return (t.of == nil || t.of == s.by) && (t.id == "" || t.id == l.of.ID) && !t.at.Before(s.at) &&
				!t.at.After(second)
		}) {
			return true
		}
	}
	return false
}

// unmeasured reports whether a poll may be early by this time because its worker started after the broker's clock was
// set forward, and does not know that another worker, which has not measured the clock since, has reserved the poll.
func (o *oracle) unmeasured(early time.Duration, at time.Time) bool {
	return slices.ContainsFunc(o.steps, func(s step) bool {
		return early <= s.forward && at.Sub(s.at) < 30*time.Second &&
			slices.ContainsFunc(o.starts, func(t time.Time) bool { return !t.Before(s.at) && t.Before(at) })
	})
}

// retyped reports whether the interaction was declared under several types. With delayed naks, each message is then
// polled while a read lacks the first one.
func (l *interaction) retyped() bool {
	return slices.ContainsFunc(l.declared, func(d *stored) bool { return d.Subject != l.declared[0].Subject })
}

func (o *oracle) since(t time.Time) time.Duration { return t.Sub(o.x.began) }

// promptness checks I5.
func (o *oracle) promptness(l *interaction, polls []simulator.Poll) {
	last := time.Now()
	next := time.Time{}
	for _, p := range polls {
		if !p.At.Before(o.calmSince) {
			next = p.At
			break
		}
	}
	for _, out := range l.outcomes {
		if !out.at.Before(o.calmSince) && (next.IsZero() || out.at.Before(next)) {
			next = out.at
		}
	}
	switch {
	case len(l.declared) == 0:
	case !next.IsZero() && next.After(l.promised):
		o.x.violated(l.of.ID, "I5", "polled at %s, promised at %s, faults ended at %s", o.since(next),
			o.since(l.promised), o.since(o.calmSince))
	case next.IsZero() && o.active(l) && last.After(l.promised):
		o.x.violated(l.of.ID, "I5", "not polled since the faults ended at %s, promised at %s", o.since(o.calmSince),
			o.since(l.promised))
	}
	if !next.IsZero() {
		o.x.history.Slowest = max(o.x.history.Slowest, next.Sub(o.calmSince))
	}
	if l.waits() {
		return
	}
	if o.active(l) {
		o.x.violated(l.of.ID, "I1", "has not ended %s after the faults", time.Since(o.calmSince))
	}
}

// contract checks I1 and I11: each declared message that begins a generation has its outcome set, or waits; no other
// has one.
func (o *oracle) contract(l *interaction) {
	type step struct {
		ordinal int
		*stored
	}
	var steps []step
	for _, s := range slices.Concat(l.declared, l.outcomes) {
		if s.unclear || o.skewed && len(l.declared) > 1 {
			return // see producers.md: the order of the two clocks, or a deleted outcome, decides
		}
		steps = append(steps, step{s.ordinal, s})
	}
	slices.SortFunc(steps, func(a, b step) int { return a.ordinal - b.ordinal })
	var active []*stored // messages of which one begins the generation
	done := false
	for _, s := range steps {
		out := s.outcome
		switch {
		case out.Subject == "" && !done && l.begins(active, s.stored):
			active = append(active, s.stored)
		case out.Subject == "":
		case slices.ContainsFunc(active, func(d *stored) bool { return d.Time.Equal(out.Generation) }):
			if done = done || out.Destination != ""; !done {
				active = nil
			}
		default:
			o.x.violated(l.of.ID, "I11", "%s is stored for a message that begins no generation", short(out.Subject))
			return
		}
	}
	switch {
	case done:
		o.complete(l)
	case len(active) > 0 && !o.active(l):
		o.x.violated(l.of.ID, "I1", "a declared message has no outcome, and nothing waits")
	}
}

// begins reports whether a declared message begins a generation, if those in active may. Of two messages under
// different types, either may if the first was not taken in before the second was stored.
func (l *interaction) begins(active []*stored, d *stored) bool {
	return len(active) == 0 || d.Subject != active[0].Subject && (!active[0].removed || active[0].left > d.ordinal)
}

// complete checks that all processed events are stored.
func (o *oracle) complete(l *interaction) {
	for _, out := range l.outcomes {
		if out.outcome.Destination == "" {
			continue
		}
		for _, d := range l.declared {
			if !d.Time.Equal(out.outcome.Generation) {
				continue
			}
			for _, to := range d.declared.Destinations() {
				if !slices.ContainsFunc(l.outcomes, func(s *stored) bool { return s.outcome.Destination == to }) {
					o.x.violated(l.of.ID, "I1", "the processed event for %s is missing", to)
				}
			}
		}
	}
}

// invalid checks I1, I4 and I6 of messages that are not valid: each has its own dead letter, and none is reserved or
// polled.
func (o *oracle) invalid(l *interaction, polls []simulator.Poll) {
	if len(polls) > 0 {
		o.x.violated(l.of.ID, "I6", "an interaction whose declared message is not valid was polled")
	}
	for _, out := range l.outcomes {
		if out.outcome.Reason != schema.InvalidMessage {
			o.x.violated(l.of.ID, "I6", "%s is stored for a message that is not valid", short(out.outcome.Subject))
		}
	}
	for _, d := range l.declared {
		own := func(out *stored) bool { return out.outcome.Generation.Equal(d.Time) }
		if !d.unclear && !slices.ContainsFunc(l.outcomes, own) {
			o.x.violated(l.of.ID, "I1", "a message that is not valid has no dead letter")
		}
	}
}

// truth checks I6 and I8.
func (o *oracle) truth(l *interaction, polls []simulator.Poll) {
	for _, out := range l.outcomes {
		switch reason := out.outcome.Reason; {
		case o.expected(l, out.outcome) && reason != schema.NotFound:
		case reason == schema.DeadlineExceeded && out.Time.Sub(out.outcome.Generation) > o.x.deadline()-time.Second:
		case (reason == schema.NotFound || reason == schema.Rejected) && refusedFor(polls) >= grace-time.Second:
		case reason == schema.DeadlineExceeded, reason == schema.NotFound, reason == schema.Rejected:
			o.x.violated(l.of.ID, "I8", "%s is stored %s after it was declared", short(out.Subject),
				out.Time.Sub(out.outcome.Generation))
		default:
			o.x.violated(l.of.ID, "I6", "%s is stored, the vendor's status is %s", short(out.Subject), l.of.Ends)
		}
	}
}

// expected reports whether an outcome is what the vendor answers at the end.
func (o *oracle) expected(l *interaction, out lifecycle.Outcome) bool {
	switch {
	case l.of.Unknown:
		return out.Reason == schema.NotFound
	case l.of.Ends == schema.StatusProcessed:
		return out.Destination != ""
	case l.of.Ends.Final():
		return out.Reason == l.of.Ends.Reason()
	}
	return false
}

func (x *engine) deadline() time.Duration {
	if d := x.world.Config.Deadline; d > 0 {
		return d
	}
	return 24 * time.Hour
}

// refusedFor is the longest time over which the vendor refused an interaction in the same way, at least three times.
func refusedFor(polls []simulator.Poll) (longest time.Duration) {
	for from := range polls {
		for to := from; to < len(polls) && polls[to].StatusCode == polls[from].StatusCode &&
			polls[to].StatusCode >= 400 && polls[to].StatusCode < 500; to++ {
			if to >= from+2 {
				longest = max(longest, polls[to].At.Sub(polls[from].At))
			}
		}
	}
	return longest
}
