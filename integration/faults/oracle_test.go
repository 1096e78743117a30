package faults

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
	"statusworker/statusclient/simulator"
)

// oracle checks the invariants of docs/reliability.md. It reads only the polls that the vendor received, and what the
// broker's streams store.
//
//	I1   every acknowledged declaration has exactly one outcome set, or waits and is polled again
//	I2   a generation is never both processed and failed
//	I3   two polls of one interaction are never closer than the interval
//	I4   nothing leaves a stream without its outcome or reservation stored
//	I5   once faults stop, everything due is polled in time
//	I6   the outcome equals the vendor's final answer
//	I7   an interaction is polled at most 1 + lifetime / interval times
//	I8   the vendor's failures alone dead-letter nothing before its deadline
//	I9   goroutines, memory and connections of a worker return to what they were
//	I10  SIGTERM ends a worker within its grace
//	I11  declaring twice adds no outcome; declaring again after a dead letter gives exactly one more
type oracle struct {
	run *run
	// outcome is called with each outcome when it is read.
	outcome func(id string, p plan, failed bool)

	mu           sync.Mutex
	interactions map[string]*interaction
	last         uint64 // sequence of the last outcome that was read
	changed      chan struct{}
	unread       error // why outcomes were not read
	began        time.Time
	polls        int
	early        int
	minGap       float64 // in intervals
	outcomes     int
	stuck        time.Duration // the longest time from the beginning of a calm to a poll
}

// interaction is everything that is known about an interaction.
type interaction struct {
	plan plan
	// declared is when its first declared message was sent, left when its last one was.
	declared time.Time
	// acknowledged are when the acknowledged declared messages were sent; attempts counts all that were sent.
	acknowledged []time.Time
	attempts     int
	replaying    int
	polls        []poll
	outcomes     []outcome
	lost         bool // it was reported
}

// poll is a poll that the vendor received.
type poll struct {
	at     time.Time
	code   int
	status schema.Status
	fault  string
	by     string // the worker, if it is known
}

// outcome is an outcome that was stored.
type outcome struct {
	lifecycle.Outcome
	read time.Time
}

// apart is how far the times of two servers and of this process may be apart.
const apart = time.Second

func newOracle(r *run) *oracle {
	return &oracle{
		run: r, interactions: map[string]*interaction{}, changed: make(chan struct{}), began: time.Now(), minGap: 1e9,
	}
}

// declares adds an interaction before it is declared.
func (o *oracle) declares(id string, p plan) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.interactions[id] = &interaction{plan: p, declared: time.Now()}
}

// known is the number of interactions.
func (o *oracle) known() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.interactions)
}

// attempted notes that a declared message is sent, and may be stored.
func (o *oracle) attempted(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.interactions[id].attempts++
}

// acknowledged notes that a declared message is stored, which was sent at a time or later.
func (o *oracle) acknowledged(id string, sent time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.interactions[id]
	l.acknowledged = append(l.acknowledged, sent)
}

// replaying notes that a replay begins or ends. Meanwhile the interaction moves against the order of the streams.
func (o *oracle) replaying(id string, begins bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if begins {
		o.interactions[id].replaying++
	} else {
		o.interactions[id].replaying--
	}
}

// polled adds a poll, and checks I3.
func (o *oracle) polled(p simulator.Poll) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.polls++
	l := o.interactions[p.Identifier]
	if l == nil || l.plan.invalid {
		o.violated("I6", p.Identifier, "it was polled, but no valid message declares it")
		return
	}
	now := poll{at: p.At, code: p.StatusCode, status: p.Status, fault: p.Fault}
	if t, ok := o.run.tier.(linked); ok {
		now.by = t.sender(p.From)
	}
	if n := len(l.polls); n > 0 {
		interval := o.run.settings.intervals.Of(l.plan.typ)
		gap := p.At.Sub(l.polls[n-1].at).Abs() // concurrent polls may be counted in either order
		o.minGap = min(o.minGap, float64(gap)/float64(interval))
		if gap < interval {
			o.early++
			if o.run.settings.mode == consumer.Schedule && !o.run.hinders(p.Identifier, l.polls[n-1], now) {
				l.polls = append(l.polls, now)
				o.violated("I3", p.Identifier, "two polls are %s apart, the interval is %s", gap, interval)
				return
			}
		}
	}
	l.polls = append(l.polls, now)
}

// stored adds an outcome, and checks I1, I2 and I11.
func (o *oracle) stored(id string, s lifecycle.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.Sequence <= o.last {
		return // delivered again to a new consumer
	}
	o.last = s.Sequence
	close(o.changed)
	o.changed = make(chan struct{})
	o.outcomes++
	l := o.interactions[id]
	if l == nil {
		o.violated("I1", id, "%s is stored, but it was not declared", s.Subject)
		return
	}
	for _, other := range l.outcomes {
		same := other.Generation.Equal(s.Generation)
		switch {
		case same && (other.Destination == "") != (s.Destination == ""):
			o.violated("I2", id, "%s and %s are stored for one generation", other.Subject, s.Subject)
		case same && (s.Destination == "" || s.Destination == other.Destination):
			o.violated("I1", id, "%s is stored twice for one generation", s.Subject)
		case !same && other.Destination != "":
			o.violated("I11", id, "%s is stored after the processed events of another generation", s.Subject)
		case !same && s.Generation.Before(other.Stored.Add(-apart)) && !l.plan.invalid:
			o.violated("I11", id, "%s is of a message that was declared before %s was stored", s.Subject, other.Subject)
		}
	}
	l.outcomes = append(l.outcomes, outcome{s, time.Now()})
	o.truth(id, l, s)
	if o.outcome != nil {
		o.outcome(id, l.plan, s.Reason != "")
	}
}

// truth checks I6 and I8 of an outcome.
func (o *oracle) truth(id string, l *interaction, s lifecycle.Outcome) {
	answered := func(ok func(schema.Status) bool) bool {
		return slices.ContainsFunc(l.polls, func(p poll) bool {
			return p.status != "" && ok(p.status) && p.at.After(s.Generation.Add(-apart)) &&
				p.at.Before(s.Stored.Add(apart))
		})
	}
	at := o.run.settings
	switch s.Reason {
	case "":
		if !answered(func(status schema.Status) bool { return status.Meaning() == schema.Processed }) {
			o.violated("I6", id, "%s is stored, but the vendor did not answer so", s.Subject)
		}
	case schema.InvalidMessage:
		if !l.plan.invalid {
			o.violated("I6", id, "%s is stored for a valid message", s.Subject)
		}
	case schema.DeadlineExceeded:
		if age := s.Stored.Sub(s.Generation); age < at.deadline-apart {
			o.violated("I8", id, "%s is stored %s after it was declared, the deadline is %s", s.Subject, age,
				at.deadline)
		}
	case schema.NotFound, schema.Rejected:
		if d := refusedFor(l.polls); d < at.grace-apart {
			o.violated("I8", id, "%s is stored, but the vendor refused it over %s, the grace period is %s", s.Subject,
				d, at.grace)
		}
	case schema.VendorFailed:
		if !answered(func(status schema.Status) bool { return status == failedStatus }) {
			o.violated("I6", id, "%s is stored, but the vendor did not answer so", s.Subject)
		}
	default:
		if !answered(func(status schema.Status) bool { return status.Reason() == s.Reason }) {
			o.violated("I6", id, "%s is stored, but the vendor did not answer so", s.Subject)
		}
	}
}

// refusedFor is the longest time over which the vendor refused an interaction in the same way, at least three times.
func refusedFor(polls []poll) (longest time.Duration) {
	for from := range polls {
		for to := from; to < len(polls) && polls[to].code == polls[from].code && polls[to].code >= 400 &&
			polls[to].code < 500; to++ {
			if to >= from+2 {
				longest = max(longest, polls[to].at.Sub(polls[from].at))
			}
		}
	}
	return longest
}

// waits reports whether an interaction must wait or be polled: it has an acknowledged declared message that has no
// outcome yet. The caller holds the lock.
func (l *interaction) waits() bool {
	return slices.ContainsFunc(l.acknowledged, func(sent time.Time) bool { return !l.settles(sent) })
}

// settles reports whether the outcomes settle a declared message that was sent at a time: a processed event, or a dead
// letter that was stored later.
func (l *interaction) settles(sent time.Time) bool {
	return slices.ContainsFunc(l.outcomes, func(s outcome) bool {
		return s.Destination != "" || s.Stored.After(sent.Add(-apart))
	})
}

// finish checks what can be checked only at the end, when nothing is stored that waits.
func (o *oracle) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, l := range o.interactions {
		if l.waits() && !l.lost {
			o.violated("I1", id, "an acknowledged declaration has no outcome")
		}
		o.complete(id, l)
		generations := map[int64]bool{}
		for _, s := range l.outcomes {
			generations[s.Generation.UnixNano()] = true
		}
		if len(generations) > l.attempts {
			o.violated("I11", id, "%d generations have an outcome, but %d messages were declared", len(generations),
				l.attempts)
		}
		if n := len(l.polls); n > 0 && o.run.settings.mode == consumer.Schedule {
			lifetime := l.polls[n-1].at.Sub(l.declared)
			if most := 1 + int(lifetime/o.run.settings.intervals.Of(l.plan.typ)); n > most {
				o.violated("I7", id, "%d polls in %s", n, lifetime)
			}
		}
	}
}

// complete checks that all processed events are stored.
func (o *oracle) complete(id string, l *interaction) {
	processed := slices.ContainsFunc(l.outcomes, func(s outcome) bool { return s.Destination != "" })
	if !processed {
		return
	}
	declared, err := schema.Decode(l.plan.message(id))
	if err != nil {
		o.violated("I6", id, "it is processed, but its declared message is not valid")
		return
	}
	for _, to := range declared.Destinations() {
		if !slices.ContainsFunc(l.outcomes, func(s outcome) bool { return s.Destination == to }) {
			o.violated("I1", id, "the processed event for %s is missing", to)
		}
	}
}

// violated reports a broken invariant. The caller holds the lock.
func (o *oracle) violated(invariant, id, format string, args ...any) {
	o.run.violated(invariant, id, fmt.Sprintf(format, args...), o.interactions[id])
}
