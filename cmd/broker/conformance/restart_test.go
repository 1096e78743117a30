package conformance_test

import (
	"fmt"
	"time"

	"statusworker/schema/broker"
)

var restartCases = []testCase{
	{name: "a restart keeps stored messages", streams: just(polls, queueAt("W", "w.>"), outcomesAt("O", "o.>")),
		restarts: true, run: func(s *stage) {
			due := s.now("S").Add(soon)
			s.holds("1", due, 0)
			s.holds("2", due.Add(time.Hour), 0)
			s.put(broker.Publication{Subject: "w.1", ID: "consumed"})
			s.put(broker.Publication{Subject: "w.2", ID: "waiting"})
			s.put(broker.Publication{Subject: "o.1", ID: "kept"})
			s.confirm(s.pull("W", "c", 1)[0])
			s.stop()
			time.Sleep(soon) // one reservation falls due
			s.start()
			s.now("S")
			for _, c := range []struct {
				p         broker.Publication
				duplicate bool
			}{
				{broker.Publication{Subject: "o.2", ID: "kept"}, true},
				{broker.Publication{Subject: "w.3", ID: "waiting"}, true},
				{broker.Publication{Subject: "w.4", ID: "consumed"}, false}, // queues forget IDs of removed messages
			} {
				if ack, err := s.publish(c.p); err != nil || ack.Duplicate != c.duplicate {
					s.Errorf("second publish of %q: %+v, error %v, want duplicate %t", c.p.ID, ack, err, c.duplicate)
				}
			}
			d := s.pull("S", "c", 1)[0]
			s.least(due, d.Time, 0)
			if s.short(d.Subject) != "poll.a.1" || s.last("S", "hold.*.1") != 0 || s.last("S", "hold.*.2") == 0 {
				s.Errorf("%s is due", d.Subject)
			}
			_, err := s.reserve("2", due, 0)
			s.fails(err, broker.ErrRejected)
			if got := s.pull("W", "c", 1)[0]; s.short(got.Subject) != "w.2" {
				s.Errorf("%s was delivered", got.Subject)
			}
		}},
	{name: "a restart shortens delays", streams: just(
		queueOf("S", "q.>", -1), with(queueAt("P", "p.>"), func(c *broker.StreamConfig) {
			c.Consumers = []broker.ConsumerConfig{{Name: "c", AckWait: 6 * time.Second, MaxAckPending: -1}}
		})[0],
	), restarts: true, run: func(s *stage) {
		s.put(broker.Publication{Subject: "q.1"})
		s.put(broker.Publication{Subject: "p.1"})
		delayed, working := s.pull("S", "c", 1)[0], s.pull("P", "c", 1)[0]
		s.passes("P", working.Time.Add(1100*time.Millisecond))
		before := s.now("S")
		s.check(s.Nak(delayed, 3*time.Second))
		s.check(s.InProgress(working))
		time.Sleep(200 * time.Millisecond) // the broker must receive both before it stops
		s.stop()
		s.start()
		// By less than a second, because the broker stores whole seconds.
		for _, stream := range []string{"S", "P"} {
			d := s.pull(stream, "c", 1)[0]
			s.least(before, s.now(stream), 2*time.Second)
			s.counts(d, 2)
		}
	}},
	{name: "a schedule that fires while the storage is full", limited: true, streams: just(polls), run: fullStorage},
	{name: "a schedule that fires while the memory is full", limited: true, streams: with(polls, inMemory),
		run: fullStorage},
}

func inMemory(c *broker.StreamConfig) { c.Memory = true }

func fullStorage(s *stage) {
	var id string
	var due time.Time
	var sequence uint64
	for n, wait := 0, 4*soon; ; n, wait = n+1, 2*wait { // until the storage is full before the reservation is due
		id, due = fmt.Sprint("stuck", n), s.now("S").Add(wait)
		sequence = s.holds(id, due, 0)
		s.fill()
		// In a cluster, the usage of the account is known with a delay.
		var err error
		for probe := 0; err == nil && s.now("S").Before(due); probe++ {
			_, err = s.reserve(fmt.Sprint("probe", n, "-", probe), due.Add(time.Hour), 0)
		}
		if err != nil {
			s.fails(err, broker.ErrFull)
		}
		if err != nil && s.now("S").Before(due) {
			break
		}
		s.free()
	}
	s.passes("S", due.Add(soon))
	s.free()
	s.until("free storage", func() error { _, err := s.reserve("2", s.now("S").Add(soon), 0); return err })
	// A new reservation fires. The first one is stuck: it is overdue, still stored, and makes others fail.
	s.comes("2")
	if got := s.last("S", "hold.*."+id); got != sequence || s.last("S", "poll.*."+id) != 0 {
		s.Errorf("reservation %d is stored, want %d, and no due message", got, sequence)
	}
	_, err := s.reserve(id, due, 0)
	s.fails(err, broker.ErrRejected)
	// Stored again, it fires.
	s.holds(id, s.now("S"), sequence)
	s.comes(id)
}
