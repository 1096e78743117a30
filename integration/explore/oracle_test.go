package explore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// Violation is a broken invariant.
type Violation struct {
	// Invariant is I1 to I13, or "worker" for a worker that ended by itself.
	Invariant string
	ID        string
	Text      string
}

func (v Violation) String() string {
	if v.ID == "" {
		return v.Invariant + ": " + v.Text
	}
	return v.Invariant + " of " + short(v.ID) + ": " + v.Text
}

// oracle checks the invariants. It reads only the changes of the broker's streams, the log of the vendor, and whether
// messages that were pulled wait in their worker.
//
//	I1   every acknowledged declaration has exactly one outcome set, or waits and is polled again
//	I2   a generation is never both processed and failed
//	I3   two polls of one interaction are never closer than the interval
//	I4   nothing leaves a stream without its outcome or reservation stored
//	I5   once faults stop, everything due is polled within one interval and 5.7 s
//	I6   the outcome equals the vendor's final answer
//	I7   an interaction is polled at most 1 + lifetime / interval times
//	I8   the vendor's failures alone dead-letter nothing before its deadline
//	I10  SIGTERM ends a worker within its grace
//	I11  declaring twice adds no outcome; declaring again after a dead letter gives exactly one more
//	I12  a worker pulls no more messages than it has free slots
//	I13  the headers of a reservation grow only with changes of status, at most 16, not with the number of polls
//
// I9 (no goroutine is left) is checked by the bubble: it ends only with its last goroutine.
type oracle struct {
	x            *engine
	interactions map[string]*interaction
	ordinal      int
	skewed       bool // the broker had another clock
	steps        []step
	starts       []time.Time // of workers
	calmSince    time.Time
	checked      time.Time // when settled last looked
	ends         []*actor  // terminated workers that have not ended
	hindrances   []hindrance
}

// step is a change of the broker's clock.
type step struct {
	at      time.Time
	forward time.Duration
}

// slow is a poll that was long on its way to the vendor: longer than the guard, so that its worker must postpone the
// next one when it has the answer.
type slow struct {
	by *actor
	at time.Time
}

// hindrance is a fault that may keep a worker from postponing a poll. An empty id means all interactions.
type hindrance struct {
	of *actor // nil: all
	id string
	at time.Time
}

// interaction is everything that was ever stored for an interaction.
type interaction struct {
	of       Interaction
	declared []*stored
	polls    map[uint64]*stored // the reservations and due messages that are stored
	outcomes []*stored
	left     time.Time // when the last message left the streams in which interactions wait
	// unsettled means that a settlement of one of its deliveries was lost, late or repeated, or that the broker has
	// forgotten them. With delayed naks, polls may then be too early.
	unsettled bool
	slow      []slow
	asked     int // polls that were about to be sent
	// promised is when the interaction must be polled at the latest, or end, after the faults.
	promised time.Time
}

// stored is a message that is or was stored.
type stored struct {
	broker.Message
	ordinal  int
	at       time.Time // by this process's clock
	removed  bool
	left     int // the ordinal of its removal
	reserved lifecycle.Reserved
	outcome  lifecycle.Outcome
	declared schema.Declared
	replays  time.Time
	// unclear: an outcome that decides about this declared message was deleted before it was taken in.
	unclear bool
	// kept: it is a due message, and the broker has recorded its acknowledgement, and kept it.
	kept bool
}

// keeps records that the broker has kept a due message that it has recorded as acknowledged.
func (o *oracle) keeps(id string, sequence uint64) {
	if l := o.interactions[id]; l != nil && l.polls[sequence] != nil {
		l.polls[sequence].kept = true
	}
}

func newOracle(x *engine) *oracle {
	o := &oracle{x: x, interactions: map[string]*interaction{}}
	for _, i := range x.world.Interactions {
		o.interactions[i.ID] = &interaction{of: i, polls: map[uint64]*stored{}}
	}
	return o
}

// changed is called with each change of a stream, with the broker's lock held.
func (o *oracle) changed(c fake.Change) {
	m := c.Message
	l := o.interactions[strings.ToLower(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])]
	if l == nil {
		return
	}
	o.ordinal++
	s := &stored{Message: m, ordinal: o.ordinal, at: time.Now()}
	verb := "stored"
	if c.Removed {
		verb = "removed"
	}
	o.x.say("", fmt.Sprintf("  %s %s @%d%s", verb, short(m.Subject), m.Sequence, mark(m)))
	switch c.Stream {
	case ns.StreamDeclared():
		if c.Removed {
			o.leaves(l, m.Sequence)
			return
		}
		s.declared, _ = ns.DecodeFrom(m.Subject, m.Data)
		s.replays = lifecycle.ReadReplays(m.Header)
		l.declared = append(l.declared, s)
	case ns.StreamPolls():
		if c.Removed {
			o.forgets(l, m.Sequence)
			return
		}
		s.reserved = lifecycle.ReadReserved(m.Header, m.Sequence, m.Time)
		l.polls[m.Sequence] = s
		if n := headerBytes(m); n > maxHeaders {
			o.x.violated(l.of.ID, "I13", "poll %d has %d bytes of headers", s.reserved.Number, n)
		}
		if history := m.Header[schema.HeaderHistory]; !onlyChanges(history) {
			o.x.violated(l.of.ID, "I13", "poll %d has the history %q", s.reserved.Number, history)
		}
	case ns.StreamOutcomes():
		if c.Removed {
			o.deletes(l, m.Sequence)
			return
		}
		s.outcome = lifecycle.ReadOutcome(ns, m.Subject, m.Sequence, m.Time, m.Data)
		o.ends1(l, s)
		l.outcomes = append(l.outcomes, s)
		if s.outcome.Reason != "" {
			o.x.deadLettered(l.of.ID)
		}
	}
}

// onlyChanges reports whether a history has at most 16 entries, each of which is a change of status. A full one may
// have lost changes in its middle.
func onlyChanges(history []string) bool {
	for i := 1; i < len(history) && len(history) < schema.MaxHistory; i++ {
		if schema.LastStatus(history[:i]) == schema.LastStatus(history[:i+1]) {
			return false
		}
	}
	return len(history) <= 16
}

// maxHeaders limits the headers of a reservation and of a due message, without the history.
const maxHeaders = 1 << 10

func headerBytes(m broker.Message) (n int) {
	for name, values := range m.Header {
		if name == schema.HeaderHistory {
			continue
		}
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

// mark shows what matters of a message.
func mark(m broker.Message) string {
	var text string
	if n := m.Header.Get(schema.HeaderPoll); n != "" {
		text = " poll " + n
	}
	if due := m.Due(); !due.IsZero() {
		text += fmt.Sprintf(", due in %.3f", due.Sub(m.Time).Seconds())
	}
	if lifecycle.IsTombstone(m.Header) {
		text += ", tombstone"
	}
	return text
}

// leaves checks I4 when a declared message leaves its stream.
func (o *oracle) leaves(l *interaction, sequence uint64) {
	n := slices.IndexFunc(l.declared, func(s *stored) bool { return s.Sequence == sequence })
	d := l.declared[n]
	o.ordinal++
	d.removed, d.left, l.left = true, o.ordinal, time.Now()
	for _, p := range l.polls {
		if !p.reserved.Tombstone && (p.reserved.Generation.Equal(d.Time) || !l.failed(p.reserved.Generation)) {
			return
		}
	}
	for _, out := range l.outcomes {
		if out.outcome.Generation.Equal(d.Time) || out.outcome.Destination != "" || !out.Time.Before(d.Time) {
			return
		}
	}
	for _, other := range l.declared {
		if !other.removed {
			return
		}
	}
	if !d.unclear {
		o.x.violated(l.of.ID, "I4", "a declared message left its stream, and nothing is stored in its place")
	}
}

// forgets checks I4 when a reservation or a due message leaves its stream.
func (o *oracle) forgets(l *interaction, sequence uint64) {
	p := l.polls[sequence]
	delete(l.polls, sequence)
	l.left = time.Now()
	if p == nil || p.reserved.Tombstone {
		return
	}
	for _, other := range l.polls {
		if !other.reserved.Tombstone {
			return
		}
	}
	g := p.reserved.Generation
	for _, out := range l.outcomes {
		if !out.outcome.Generation.Before(g) || out.outcome.Destination != "" || !out.Time.Before(g) {
			return
		}
	}
	o.x.violated(l.of.ID, "I4", "poll %d left its stream, and nothing is stored in its place", p.reserved.Number)
}

// deletes notes that an operator deleted an outcome.
func (o *oracle) deletes(l *interaction, sequence uint64) {
	for _, out := range l.outcomes {
		if out.Sequence == sequence {
			out.removed = true
			for _, d := range l.declared {
				d.unclear = d.unclear || !d.removed
			}
		}
	}
}

// ends1 checks I1 and I2 when an outcome is stored.
func (o *oracle) ends1(l *interaction, s *stored) {
	for _, other := range l.outcomes {
		switch a, b := other.outcome, s.outcome; {
		case !a.Generation.Equal(b.Generation):
		case (a.Destination == "") != (b.Destination == ""):
			o.x.violated(l.of.ID, "I2", "%s and %s are stored for one generation", short(a.Subject), short(b.Subject))
		case a.Destination == "" || a.Destination == b.Destination:
			o.x.violated(l.of.ID, "I1", "%s is stored twice for one generation", short(b.Subject))
		}
	}
}

// failed reports whether a dead letter of a generation was stored.
func (l *interaction) failed(generation time.Time) bool {
	return slices.ContainsFunc(l.outcomes, func(s *stored) bool {
		return s.outcome.Reason != "" && s.outcome.Generation.Equal(generation)
	})
}

// skews notes that the broker has another clock.
func (o *oracle) skews(ahead time.Duration) {
	o.skewed = o.skewed || ahead != 0
	before := o.x.fake.Now().Sub(time.Now().Round(0).UTC())
	o.steps = append(o.steps, step{time.Now(), ahead - before})
}

// place is where a message is stored.
type place struct {
	stream   string
	sequence uint64
}

// waiting returns the messages that are stored for an interaction that waits.
func (o *oracle) waiting(id string) (all []place) {
	l := o.interactions[id]
	if l == nil {
		return nil
	}
	for _, d := range l.declared {
		if !d.removed {
			all = append(all, place{ns.StreamDeclared(), d.Sequence})
		}
	}
	for _, sequence := range slices.Sorted(maps.Keys(l.polls)) {
		all = append(all, place{ns.StreamPolls(), sequence})
	}
	return all
}

// hinders notes a fault that may keep a worker from postponing a poll.
func (o *oracle) hinders(of *actor, id string) {
	o.hindrances = append(o.hindrances, hindrance{of, id, time.Now()})
}

// unsettles notes that the settlement of a delivery may have had no effect, or at the wrong time.
func (o *oracle) unsettles(id string) {
	if l := o.interactions[id]; l != nil {
		l.unsettled = true
	}
}

// forgotten notes that the broker has forgotten the deliveries of all interactions.
func (o *oracle) forgotten() {
	for _, l := range o.interactions {
		l.unsettled = true
	}
}

func (o *oracle) terminated(a *actor) { o.ends = append(o.ends, a) }

// interval is the poll interval of an interaction: the shortest of the types under which it was declared.
func (o *oracle) interval(l *interaction) time.Duration {
	least := o.x.world.Config.Intervals.Of(l.of.Type)
	for _, d := range l.declared {
		kind, _, _ := ns.SplitSubject(d.Subject)
		least = min(least, o.x.world.Config.Intervals.Of(schema.Type(kind)))
	}
	return least
}
