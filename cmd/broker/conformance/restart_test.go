package conformance_test

import (
	"time"

	"statusworker/schema/broker"
)

var restartCases = []testCase{
	{name: "a restart keeps what is stored", streams: just(polls, queueAt("W", "w.>"), outcomesAt("O", "o.>")),
		restarts: true, run: func(s *stage) {
			due := s.now("S").Add(soon)
			s.holds("1", due, 0)
			s.holds("2", due.Add(time.Hour), 0)
			s.put(broker.Publication{Subject: "w.1", ID: "consumed"})
			s.put(broker.Publication{Subject: "w.2", ID: "waiting"})
			s.put(broker.Publication{Subject: "o.1", ID: "kept"})
			s.confirm(s.pull("W", "c", 1)[0])
			s.stop()
			time.Sleep(soon) // one falls due meanwhile
			s.start()
			s.now("S")
			for _, c := range []struct {
				p         broker.Publication
				duplicate bool
			}{
				{broker.Publication{Subject: "o.2", ID: "kept"}, true},
				{broker.Publication{Subject: "w.3", ID: "waiting"}, true},
				{broker.Publication{Subject: "w.4", ID: "consumed"}, false}, // a queue forgets the IDs of what is gone
			} {
				if ack, err := s.publish(c.p); err != nil || ack.Duplicate != c.duplicate {
					s.Errorf("publishing %q again gave %+v, %v, want a duplicate: %t", c.p.ID, ack, err, c.duplicate)
				}
			}
			d := s.pull("S", "c", 1)[0]
			s.least(due, d.Time, 0)
			if s.short(d.Subject) != "poll.a.1" || s.last("S", "hold.*.1") != 0 || s.last("S", "hold.*.2") == 0 {
				s.Errorf("%s is due", d.Subject)
			}
			_, err := s.reserve("2", due, 0)
			s.fails(err, broker.ErrRefused)
			if got := s.pull("W", "c", 1)[0]; s.short(got.Subject) != "w.2" {
				s.Errorf("%s was delivered", got.Subject)
			}
		}},
	{name: "a restart shortens what holds a message back", streams: just(
		queueOf("S", "q.>", -1), with(queueAt("P", "p.>"), func(c *broker.StreamConfig) {
			c.Consumers = []broker.ConsumerConfig{{Name: "c", AckWait: 4 * time.Second, MaxAckPending: -1}}
		})[0],
	), restarts: true, run: func(s *stage) {
		s.put(broker.Publication{Subject: "q.1"})
		s.put(broker.Publication{Subject: "p.1"})
		delayed, working := s.pull("S", "c", 1)[0], s.pull("P", "c", 1)[0]
		s.passes("P", working.Time.Add(1100*time.Millisecond))
		before := s.now("S")
		s.check(s.Nak(delayed, 3*time.Second))
		s.check(s.InProgress(working))
		time.Sleep(200 * time.Millisecond) // the broker is to have both before it stops
		s.stop()
		s.start()
		// By less than a second, as whole seconds are stored; never to the time of the delivery.
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
	due := s.now("S").Add(5 * soon)
	sequence := s.holds("1", due, 0)
	s.fill()
	_, err := s.reserve("2", due, 0)
	s.fails(err, broker.ErrFull)
	if now := s.now("S"); !now.Before(due) {
		s.Fatalf("the storage was full %v too late", now.Sub(due))
	}
	s.passes("S", due.Add(soon))
	s.free()
	s.until("room", func() error { _, err := s.reserve("2", s.now("S").Add(soon), 0); return err })
	// The other one fires, and this one is stuck: it is still there, is long due, and keeps others out.
	if d := s.pull("S", "c", 1)[0]; s.short(d.Subject) != "poll.a.2" {
		s.Errorf("%s was delivered", d.Subject)
	}
	if got := s.last("S", "hold.*.1"); got != sequence {
		s.Errorf("%d is pending, want %d", got, sequence)
	}
	_, err = s.reserve("1", due, 0)
	s.fails(err, broker.ErrRefused)
	// Stored again, it fires.
	s.holds("1", s.now("S"), sequence)
	if d := s.pull("S", "c", 1)[0]; s.short(d.Subject) != "poll.a.1" {
		s.Errorf("%s was delivered", d.Subject)
	}
}
