package conformance_test

import (
	"context"
	"fmt"
	"time"

	"statusworker/schema/broker"
)

// quick is a queue with another AckWait.
func quick(ackWait time.Duration) []broker.StreamConfig {
	return with(queue, func(q *broker.StreamConfig) {
		q.Consumers = []broker.ConsumerConfig{{Name: "c", AckWait: ackWait, MaxAckPending: -1}}
	})
}

// counts fails the test unless a delivery has this count.
func (s *stage) counts(d broker.Delivery, want uint64) {
	s.Helper()
	if d.Count != want {
		s.Errorf("%s is delivery %d, want %d", d.Subject, d.Count, want)
	}
}

var consumerCases = []testCase{
	{name: "an ack removes", options: acked, streams: just(queue), run: func(s *stage) {
		for _, subject := range []string{"q.1", "q.2", "q.3"} {
			s.put(broker.Publication{Subject: subject, Data: []byte(subject)})
		}
		got := s.pull("S", "c", 3)
		for i, d := range got {
			s.counts(d, 1)
			if d.Stream != s.of("S") || d.Consumer != "c" || d.Sequence != uint64(i+1) ||
				string(d.Data) != s.short(d.Subject) || d.Time.IsZero() {
				s.Errorf("delivery %d is %+v", i, d)
			}
		}
		s.confirm(got[1])
		s.gone("S", "q.2")
		if s.last("S", "q.1") == 0 || s.last("S", "q.3") == 0 {
			s.Error("an ack removed another message")
		}
		s.confirm(got[1]) // again
		s.check(s.Ack(got[0]))
		s.check(s.Ack(got[2]))
		s.gone("S", ">")
		s.none("S", "c")
	}},
	{name: "an ack does not remove from a stream with limits", streams: with(outcomes, func(c *broker.StreamConfig) {
		c.Consumers = []broker.ConsumerConfig{{Name: "c", AckWait: time.Second, MaxAckPending: -1}}
	}), run: func(s *stage) {
		sequence := s.put(broker.Publication{Subject: "o.a.b.1"})
		s.confirm(s.pull("S", "c", 1)[0])
		if got := s.last("S", ">"); got != sequence {
			s.Errorf("last message %d, want %d", got, sequence)
		}
		s.none("S", "c")
	}},
	{name: "AckWait redelivers", streams: quick(time.Second), run: func(s *stage) {
		s.put(broker.Publication{Subject: "q.1"})
		before := s.now("S")
		s.counts(s.pull("S", "c", 1)[0], 1)
		s.counts(s.pull("S", "c", 1)[0], 2)
		s.least(before, s.now("S"), time.Second)
		s.counts(s.pull("S", "c", 1)[0], 3)
		s.least(before, s.now("S"), 2*time.Second)
	}},
	{name: "MaxDeliver ends redelivery", streams: with(queue, func(q *broker.StreamConfig) {
		q.Consumers = []broker.ConsumerConfig{{Name: "c", AckWait: time.Second, MaxAckPending: -1, MaxDeliver: 2}}
	}), run: func(s *stage) {
		sequence := s.put(broker.Publication{Subject: "q.1"})
		s.counts(s.pull("S", "c", 1)[0], 1)
		d := s.pull("S", "c", 1)[0]
		s.counts(d, 2)
		s.check(s.Nak(d, 0))
		s.none("S", "c")
		if got := s.last("S", "q.1"); got != sequence {
			s.Errorf("last message %d, want %d", got, sequence)
		}
	}},
	{name: "a nak redelivers at once", streams: just(queue), run: func(s *stage) {
		s.put(broker.Publication{Subject: "q.1"})
		s.put(broker.Publication{Subject: "q.2"})
		d := s.pull("S", "c", 1)[0]
		for n, delay := range []time.Duration{0, -time.Hour} {
			s.check(s.Nak(d, delay))
			s.until("the redelivery", func() error {
				got := s.pull("S", "c", 1)[0]
				if got.Subject != d.Subject {
					return errEnough // the nak has not arrived yet
				}
				s.counts(got, uint64(n+2))
				return nil
			})
		}
	}},
	{name: "a nak with a delay", streams: just(queue), run: func(s *stage) {
		s.put(broker.Publication{Subject: "q.1"})
		d := s.pull("S", "c", 1)[0]
		s.put(broker.Publication{Subject: "q.2"})
		before := s.now("S")
		s.check(s.Nak(d, time.Second))
		came := map[string]bool{}
		for range 2 {
			got := s.pull("S", "c", 1)[0]
			if came[got.Subject] = true; got.Subject == d.Subject {
				s.least(before, s.now("S"), time.Second)
				s.counts(got, 2)
			}
		}
		if len(came) != 2 {
			s.Errorf("delivered %v, want both: a delayed message does not delay others", came)
		}
	}},
	{name: "in progress restarts AckWait", streams: quick(2 * time.Second), run: func(s *stage) {
		for { // until the machine is fast enough
			s.put(broker.Publication{Subject: "q.1"})
			began := s.now("S")
			d := s.pull("S", "c", 1)[0]
			s.passes("S", began.Add(time.Second))
			before := s.now("S")
			s.check(s.InProgress(d))
			time.Sleep(100 * time.Millisecond) // an in-progress has no answer
			inTime := s.now("S").Sub(began) < 1900*time.Millisecond
			d = s.pull("S", "c", 1)[0]
			if inTime {
				s.counts(d, 2)
				s.least(before, s.now("S"), 2*time.Second)
				return
			}
			s.confirm(d)
		}
	}},
	{name: "a late ack settles the newer delivery", streams: just(queue), run: func(s *stage) {
		s.put(broker.Publication{Subject: "q.1"})
		first := s.pull("S", "c", 1)[0]
		s.check(s.Nak(first, 0))
		s.counts(s.pull("S", "c", 1)[0], 2)
		s.confirm(first)
		s.gone("S", ">")
	}},
	{name: "a late nak delays the newer delivery", streams: just(queue), run: func(s *stage) {
		s.put(broker.Publication{Subject: "q.1"})
		first := s.pull("S", "c", 1)[0]
		s.check(s.Nak(first, 0))
		s.counts(s.pull("S", "c", 1)[0], 2)
		before := s.now("S")
		s.check(s.Nak(first, time.Second)) // AckWait is a minute
		s.counts(s.pull("S", "c", 1)[0], 3)
		s.least(before, s.now("S"), time.Second)
		s.check(s.Nak(first, 0))
		s.counts(s.pull("S", "c", 1)[0], 4)
	}},
	{name: "max ack pending", streams: just(queueOf("S", "q.>", 2), queueOf("N", "n.>", -1)),
		run: func(s *stage) {
			for _, subject := range []string{"q.1", "q.2", "q.3", "n.1", "n.2", "n.3"} {
				s.put(broker.Publication{Subject: subject})
			}
			got := s.pull("S", "c", 2)
			s.none("S", "c")
			s.check(s.Nak(got[0], time.Hour)) // still pending
			s.none("S", "c")
			s.confirm(got[1])
			if d := s.pull("S", "c", 1)[0]; s.short(d.Subject) != "q.3" {
				s.Errorf("%s was delivered", d.Subject)
			}
			for _, d := range s.pull("N", "c", 3) {
				s.check(s.Nak(d, time.Hour))
			}
			s.put(broker.Publication{Subject: "n.4"})
			s.pull("N", "c", 1)
		}},
	{name: "a subject that looks like a filter", streams: just(
		broker.StreamConfig{Name: "S", Subjects: []string{"q.*"}, WorkQueue: true,
			Consumers: []broker.ConsumerConfig{{Name: "c", AckWait: time.Minute, MaxAckPending: -1}}},
		broker.StreamConfig{Name: "F", Subjects: []string{"f.*"}, WorkQueue: true,
			Consumers: []broker.ConsumerConfig{{Name: "c", Filter: "f.*", AckWait: time.Minute, MaxAckPending: -1}}},
	), run: func(s *stage) {
		for _, subject := range []string{"q.>", "q.*", "f.>", "f.*"} {
			s.put(broker.Publication{Subject: subject})
		}
		s.pull("S", "c", 2)
		if d := s.pull("F", "c", 1)[0]; s.short(d.Subject) != "f.*" {
			s.Errorf("%s was delivered", d.Subject)
		}
		s.none("F", "c") // a subject with > matches no filter of a consumer except its own
		// Reads of the stream find it.
		s.check(s.Delete(s.ctx, s.of("F"), s.last("F", "f.*")))
		if got := s.last("F", "f.*"); got != 1 {
			s.Errorf("last message %d, want 1", got)
		}
		_, err := s.publish(broker.Publication{Subject: "f.1", If: broker.Condition{Subjects: "f.*"}})
		s.fails(err, broker.ErrRejected)
		if m, err := s.Next(s.ctx, s.of("F"), s.on("f.*"), 0); err != nil || m.Sequence != 1 {
			s.Errorf("first message %d, error %v, want 1", m.Sequence, err)
		}
		if found, err := s.Subjects(s.ctx, s.of("F"), s.on("f.*")); err != nil || len(found) != 1 {
			s.Errorf("subjects %v, error %v, want 1", found, err)
		}
	}},
	{name: "a message that is deleted while it is pending", streams: quick(time.Second), run: func(s *stage) {
		sequence := s.put(broker.Publication{Subject: "q.1"})
		before := s.now("S")
		d := s.pull("S", "c", 1)[0]
		s.check(s.Delete(s.ctx, s.of("S"), sequence))
		s.check(s.Nak(d, 0))
		s.passes("S", before.Add(1200*time.Millisecond))
		s.none("S", "c")
		state, err := s.Consumer(s.ctx, s.of("S"), "c")
		s.check(err)
		if state.AckPending != 0 {
			s.Errorf("state %+v, want no ack pending", state)
		}
	}},
	{name: "messages that are counted as acknowledged", streams: just(queue), run: func(s *stage) {
		for _, subject := range []string{"q.1", "q.2", "q.3"} {
			s.put(broker.Publication{Subject: subject})
		}
		got := s.pull("S", "c", 3)
		settled := func(want uint64) {
			s.Helper()
			s.until("acknowledged messages", func() error {
				state, err := s.Consumer(s.ctx, s.of("S"), "c")
				if err == nil && (state.AckFloor != want || !state.CountsAsAcked(want) || state.CountsAsAcked(want+1)) {
					err = fmt.Errorf("state %+v, want all up to %d", state, want)
				}
				return err
			})
		}
		s.confirm(got[0])
		settled(1)
		s.confirm(got[2])
		settled(1)
		s.confirm(got[1])
		settled(3)
		// This message is not stored any more.
		s.check(s.AckConfirmed(s.ctx, s.Claim(s.of("S"), "c", got[1].Message)))
	}},
	{name: "a consumer whose state is lost", streams: just(queue), run: func(s *stage) {
		for _, subject := range []string{"q.1", "q.2", "q.3"} {
			s.put(broker.Publication{Subject: subject})
		}
		got := s.pull("S", "c", 3)
		s.confirm(got[0])
		s.check(s.Nak(got[1], time.Hour))
		s.forget(s.of("S"), "c")
		// The broker does not know that these were delivered, and ignores acks.
		for _, d := range got[1:] {
			short, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
			defer cancel()
			s.fails(s.AckConfirmed(short, d), broker.ErrNoAnswer)
		}
		again := s.pull("S", "c", 2)
		for i, d := range again {
			s.counts(d, 1)
			if d.Subject != got[i+1].Subject {
				s.Errorf("delivery %d is %s, want %s", i, d.Subject, got[i+1].Subject)
			}
		}
		s.confirm(got[1]) // it is pending again
		s.none("S", "c")
		s.gone("S", "q.2")
		if s.last("S", "q.3") == 0 {
			s.Error("the message that was not acked is missing")
		}
	}},
}

func queueOf(name, subjects string, maxAckPending int) broker.StreamConfig {
	c := queueAt(name, subjects)
	c.Consumers = []broker.ConsumerConfig{{Name: "c", AckWait: time.Minute, MaxAckPending: maxAckPending}}
	return c
}
