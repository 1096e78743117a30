package clock

import (
	"slices"
	"time"
)

// Due is when a reservation falls due, by the clock of one server.
type Due struct {
	// At is the time, and Made when the reservation was made. Both are zero if they are unknown.
	At, Made time.Time
	// Leader is the server whose clock was used; empty for a server that is not in a cluster.
	Leader string
}

// MaxApart is the largest difference between the clocks of two servers that makes no poll early if a worker has
// measured only one of them.
const MaxApart = 600 * time.Millisecond

// Apart is MaxApart, or a fifth of the poll interval if that is shorter.
func Apart(interval time.Duration) time.Duration { return min(MaxApart, interval/5) }

// Due converts a time of this process's clock to a due time by the broker's clock, or a little later. The reservation
// is made now. After a step back it uses the clock as it was before the step (the fastest recent measurement), because
// the clock may be set forward again before the worker that gets the due message measures it.
func (c *Clock) Due(t time.Time) Due {
	k, now := c.known.Load(), c.now()
	return Due{At: k.find(k.leader).fastest(now, t), Made: k.at(now), Leader: k.leader}
}

// Early returns how long a poll must still wait, or 0. The poll fell due when the broker's clock showed fell. If the
// reservation was made by another server's clock, that may have been too early. A worker that has measured that clock
// at about that time knows how long. Any other worker waits until the clock that it knows is past the due time by the
// largest difference. No poll is early once an interval has passed since it fell due.
func (c *Clock) Early(due Due, fell time.Time, interval time.Duration) time.Duration {
	if due.At.IsZero() {
		return 0
	}
	k, now := c.known.Load(), c.now()
	slowest, l := k.least(now), k.find(due.Leader)
	if l != nil {
		slowest = l.slowest(now, due.Made)
	}
	if l == nil || !l.knownAt(due.Made) {
		slowest = slowest.Add(-Apart(interval))
	}
	return max(0, min(due.At.Sub(slowest), fell.Add(interval).Sub(k.at(now))))
}

// known is what the measurements have shown. It does not change.
type known struct {
	mark    // the last measurement
	leaders []leader
}

// leader is the clock of one server.
type leader struct {
	name  string
	since time.Time // when it was first measured, by itself
	// marks are its measurements. The last one is in use. The others are recent, or slower than all after them: a
	// worker may have used them until it has measured the clock again.
	marks []mark
}

const (
	// maxMarks limits the measurements of a leader, except the last one.
	maxMarks = 12
	// noise is the difference between two measurements of which only the later one is kept.
	noise = 2 * time.Millisecond
	// knownFor is how long after its last measurement the clock of a leader is known: it may be set while another one
	// leads. After forgetAfter it is forgotten. knownFor is also how long measurements are recent.
	knownFor    = 2 * maxAge
	forgetAfter = 10 * time.Minute
)

func (k *known) find(name string) *leader {
	for i := range k.leaders {
		if k.leaders[i].name == name {
			return &k.leaders[i]
		}
	}
	return nil
}

// with adds a measurement.
func (k *known) with(m mark, now time.Time) *known {
	next := &known{mark: m}
	own := leader{name: m.leader, since: m.broker}
	for _, l := range k.leaders {
		switch last := l.marks[len(l.marks)-1]; {
		case now.Sub(last.local) > forgetAfter:
		case l.name == m.leader:
			own = l.without(m)
		default:
			next.leaders = append(next.leaders, l)
		}
	}
	own.marks = append(own.marks, m)
	next.leaders = append(next.leaders, own)
	return next
}

// without returns the leader without the measurements that a new one makes superfluous.
func (l leader) without(m mark) leader {
	marks := slices.Clone(l.marks)
	marks[len(marks)-1].replaced, marks[len(marks)-1].until = m.local, m.broker
	l.marks = slices.DeleteFunc(marks, func(old mark) bool {
		slower := m.least(m.local).Sub(old.least(m.local))
		return slower.Abs() <= noise || slower < 0 && !old.recent(m.local)
	})
	l.marks = l.marks[max(0, len(l.marks)-maxMarks):]
	return l
}

// recent reports whether a measurement is in use, or was replaced a short time ago.
func (m mark) recent(now time.Time) bool {
	return m.replaced.IsZero() || now.Sub(m.replaced) < knownFor
}

// fastest converts a time of this process's clock by the fastest of the recent measurements.
func (l *leader) fastest(now, t time.Time) (fastest time.Time) {
	for _, m := range l.marks {
		if at := m.at(t); m.recent(now) && at.After(fastest) {
			fastest = at
		}
	}
	return fastest
}

// knownAt reports whether the clock was measured before a time, and not long before.
func (l *leader) knownAt(t time.Time) bool {
	return !t.Before(l.since) && !t.After(l.marks[len(l.marks)-1].broker.Add(knownFor))
}

// slowest is the time of the slowest clock with which a reservation can have been made.
func (l *leader) slowest(now, made time.Time) time.Time {
	slowest := l.marks[len(l.marks)-1].least(now)
	for _, m := range l.marks {
		if t := m.least(now); m.until.Add(maxAge).After(made) && t.Before(slowest) {
			slowest = t
		}
	}
	return slowest
}
