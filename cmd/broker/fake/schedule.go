package fake

import (
	"strings"

	"statusworker/schema/broker"
)

// schedule is a message that is published to another subject later.
type schedule struct {
	*message
	armed int  // how often; only the last timer fires
	fired bool // and its message is stored
}

// arm lets a schedule fire when it is due. While another one that was on its subject is firing, it does not begin to: a
// server looks for due schedules every 250 ms at most, and finds this one purged.
func (s *stream) arm(sc *schedule) {
	sc.armed++
	armed := sc.armed
	s.b.at(later(sc.Due().Add(s.b.o.FiresLate), s.b.stamp), func() {
		if s.schedules[sc.Subject] != sc || sc.armed != armed {
			return
		}
		if s.firing[sc.Subject] > 0 {
			s.b.at(s.b.stamp.Add(s.b.o.FiringTakes), func() { s.arm(sc) })
			return
		}
		if s.b.o.FiringTakes > 0 {
			s.firing[sc.Subject]++
			s.b.at(s.b.stamp.Add(s.b.o.FiringTakes), func() {
				if s.firing[sc.Subject]--; s.firing[sc.Subject] == 0 {
					delete(s.firing, sc.Subject)
				}
				if sc.armed == armed {
					s.fire(sc)
				}
			})
			return
		}
		s.fire(sc)
	})
}

// fire stores the message of a schedule and purges its subject. If it cannot store the message, the schedule is stuck.
func (s *stream) fire(sc *schedule) {
	m := &message{Message: broker.Message{Subject: sc.Header.Get(broker.HeaderScheduleTarget), Data: sc.Data,
		Header: broker.Header{}}}
	for name, values := range sc.Header {
		if !strings.HasPrefix(name, broker.HeaderSchedule) && !strings.HasPrefix(name, "Nats-Expected-") &&
			name != broker.HeaderID {
			m.Header[name] = values
		}
	}
	m.Header.Set(broker.HeaderScheduler, sc.Subject)
	m.Header.Set(broker.HeaderScheduleNext, broker.ScheduleNextIsPurge)
	if s.store(m) != nil {
		return
	}
	sc.fired = true
	if seen := s.b.o.FiredSeen; seen > 0 {
		s.b.at(s.b.stamp.Add(seen), func() { s.purge(sc.Subject, m.Sequence) })
	} else {
		s.purge(sc.Subject, m.Sequence)
	}
	s.serve()
}
