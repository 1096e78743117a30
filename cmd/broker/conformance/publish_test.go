package conformance_test

import (
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema/broker"
)

// outcomes is a stream that keeps its messages, like the stream of outcomes. queue is a work queue.
var (
	outcomes = broker.StreamConfig{Name: "S", Subjects: []string{"o.*.*.*"}}
	queue    = broker.StreamConfig{
		Name: "S", Subjects: []string{"q.>"}, WorkQueue: true,
		Consumers: []broker.ConsumerConfig{{Name: "c", AckWait: time.Minute, MaxAckPending: -1}},
	}
)

// with returns a changed copy of a stream.
func with(c broker.StreamConfig, change func(*broker.StreamConfig)) []broker.StreamConfig {
	change(&c)
	return []broker.StreamConfig{c}
}

func just(c ...broker.StreamConfig) []broker.StreamConfig { return c }

// acked are options for cases in which an ack removes a message: on a replicated stream it remains visible for a time.
var acked = fake.Options{AckedSeen: 70 * time.Millisecond}

var publishCases = []testCase{
	{name: "a condition on one subject", streams: just(outcomes), run: func(s *stage) {
		on := func(last uint64) broker.Publication {
			return broker.Publication{Subject: "o.a.b.1", If: broker.Condition{Subjects: "o.a.b.1", Last: last}}
		}
		first := s.put(on(0))
		for _, wrong := range []uint64{0, first + 1} {
			_, err := s.publish(on(wrong))
			s.fails(err, broker.ErrRejected)
		}
		second := s.put(on(first))
		_, err := s.publish(on(first))
		s.fails(err, broker.ErrRejected)
		if s.last("S", "o.a.b.1") != second {
			s.Error("a rejected publish is stored")
		}
	}},
	{name: "a condition over a family of subjects", streams: just(outcomes), run: func(s *stage) {
		on := func(subject string, last uint64) broker.Publication {
			return broker.Publication{Subject: subject, If: broker.Condition{Subjects: "o.*.*.1", Last: last}}
		}
		s.put(broker.Publication{Subject: "o.processed.x.2"}) // another family
		first := s.put(on("o.processed.x.1", 0))
		_, err := s.publish(on("o.failed.y.1", 0))
		s.fails(err, broker.ErrRejected)
		second := s.put(on("o.failed.y.1", first))
		s.put(broker.Publication{Subject: "o.processed.x.3"})
		_, err = s.publish(on("o.processed.z.1", first))
		s.fails(err, broker.ErrRejected)
		s.check(s.Delete(s.ctx, s.of("S"), second))
		_, err = s.publish(on("o.processed.z.1", second))
		s.fails(err, broker.ErrRejected)
		third := s.put(on("o.processed.z.1", first)) // the last message is the earlier one again
		s.check(s.Delete(s.ctx, s.of("S"), first))
		s.check(s.Delete(s.ctx, s.of("S"), third))
		s.put(on("o.failed.y.1", 0))
	}},
	{name: "a duplicate within the window", streams: with(outcomes,
		func(c *broker.StreamConfig) { c.Duplicates = 500 * time.Millisecond }), run: func(s *stage) {
		p := broker.Publication{Subject: "o.a.b.1", ID: "one"}
		first := s.put(p)
		before, err := s.Get(s.ctx, s.of("S"), first)
		s.check(err)
		other := s.put(broker.Publication{Subject: "o.a.b.1", ID: "two"})
		p.Subject = "o.a.b.2" // only the ID counts
		for {
			ack, err := s.publish(p)
			s.check(err)
			if !ack.Duplicate {
				after, err := s.Get(s.ctx, s.of("S"), ack.Sequence)
				s.check(err)
				s.least(before.Time, after.Time, 500*time.Millisecond)
				if ack.Sequence != other+1 {
					s.Errorf("sequence %d follows %d: a duplicate is stored", ack.Sequence, other)
				}
				return
			}
			if ack.Sequence != first {
				s.Errorf("sequence %d for a duplicate, want %d", ack.Sequence, first)
			}
			time.Sleep(50 * time.Millisecond) // the duplicate window ends without an event
		}
	}},
	{name: "a duplicate of a removed message", streams: just(outcomes, queueAt("W", "w.>")), run: func(s *stage) {
		deleted := broker.Publication{Subject: "o.a.b.1", ID: "one"}
		s.check(s.Delete(s.ctx, s.of("S"), s.put(deleted)))
		consumed := broker.Publication{Subject: "w.1", ID: "one"}
		s.put(consumed)
		s.confirm(s.pull("W", "c", 1)[0])
		s.gone("W", ">")
		for _, p := range []broker.Publication{deleted, consumed} {
			if ack, err := s.publish(p); err != nil || !ack.Duplicate {
				s.Errorf("second publish: %+v, error %v, want a duplicate", ack, err)
			}
		}
		s.gone("S", ">")
		s.gone("W", ">")
	}},
	{name: "a condition is checked before duplicates", streams: just(outcomes), single: true, run: func(s *stage) {
		p := broker.Publication{Subject: "o.a.b.1", ID: "one", If: broker.Condition{Subjects: "o.*.*.1"}}
		s.put(p)
		_, err := s.publish(p)
		s.fails(err, broker.ErrRejected)
	}},
	{name: "one message per subject", options: acked, streams: with(queue, func(c *broker.StreamConfig) {
		c.DiscardNew, c.DiscardNewPerSubject, c.MaxPerSubject = true, true, 1
	}), run: func(s *stage) {
		s.put(broker.Publication{Subject: "q.1"})
		_, err := s.publish(broker.Publication{Subject: "q.1"})
		s.fails(err, broker.ErrMaxPerSubject)
		s.put(broker.Publication{Subject: "q.2"})
		s.confirm(s.pull("S", "c", 1)[0])
		s.until("the second message", func() error {
			_, err := s.publish(broker.Publication{Subject: "q.1"})
			return err
		})
	}},
	{name: "a stream that is full", options: acked, streams: with(queue, func(c *broker.StreamConfig) {
		c.DiscardNew, c.DiscardNewPerSubject, c.MaxPerSubject, c.MaxMsgs = true, true, 1, 2
	}), run: func(s *stage) {
		s.put(broker.Publication{Subject: "q.1"})
		s.put(broker.Publication{Subject: "q.2"})
		_, err := s.publish(broker.Publication{Subject: "q.3"})
		s.fails(err, broker.ErrFull)
		s.confirm(s.pull("S", "c", 1)[0])
		s.until("the second message", func() error {
			_, err := s.publish(broker.Publication{Subject: "q.3"})
			return err
		})
	}},
	{name: "a stream that discards old messages",
		streams: with(outcomes, func(c *broker.StreamConfig) { c.MaxMsgs = 2 }), run: func(s *stage) {
			first := s.put(broker.Publication{Subject: "o.a.b.1"})
			s.put(broker.Publication{Subject: "o.a.b.2"})
			s.put(broker.Publication{Subject: "o.a.b.3", If: broker.Condition{Subjects: "o.*.*.1", Last: first}})
			if s.last("S", "o.*.*.1") != 0 {
				s.Error("the oldest message is still stored")
			}
			state, err := s.Stream(s.ctx, s.of("S"))
			s.check(err)
			if state.Messages != 2 || state.First != first+1 || state.Last != first+2 {
				s.Errorf("state %+v", state)
			}
		}},
	{name: "a subject of no stream", streams: just(outcomes), run: func(s *stage) {
		_, err := s.publish(broker.Publication{Subject: "other"})
		s.fails(err, broker.ErrNoAnswer)
	}},
	{name: "a message that is too large", streams: just(outcomes), run: func(s *stage) {
		_, err := s.publish(broker.Publication{Subject: "o.a.b.1", Data: make([]byte, 1<<20+1)})
		s.fails(err, broker.ErrTooLarge)
	}},
	{name: "a bucket with a max age", streams: just(broker.StreamConfig{
		Name: "KV", Subjects: []string{"kv.>"}, DiscardNew: true, MaxPerSubject: 1, MaxAge: 3 * time.Second,
		Duplicates: 3 * time.Second, DirectGets: true,
	}), run: func(s *stage) {
		keys := func() int {
			found, err := s.Subjects(s.ctx, s.of("KV"), s.on("kv.>"))
			s.check(err)
			return len(found)
		}
		var m broker.Message
		var second uint64
		s.until("a value that is read in time", func() (err error) {
			s.put(broker.Publication{Subject: "kv.one", Data: []byte("1")})
			s.put(broker.Publication{Subject: "kv.two", Data: []byte("1")})
			second = s.put(broker.Publication{Subject: "kv.one", Data: []byte("2")})
			m, err = s.Last(s.ctx, s.of("KV"), s.on("kv.one"))
			return err
		})
		if string(m.Data) != "2" || m.Sequence != second || keys() > 2 {
			s.Errorf("the key has %q (%d), among %d keys", m.Data, m.Sequence, keys())
		}
		for keys() > 0 {
			time.Sleep(50 * time.Millisecond) // a message expires without an event
		}
		s.least(m.Time, s.now("KV"), 3*time.Second)
	}},
}

func queueAt(name, subjects string) broker.StreamConfig {
	c := queue
	c.Name, c.Subjects = name, []string{subjects}
	return c
}
