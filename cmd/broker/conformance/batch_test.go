package conformance_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"statusworker/schema/broker"
)

// batched is a stream that stores atomic batches, like the stream of outcomes.
var batched = broker.StreamConfig{Name: "S", Subjects: []string{"o.*.*.*"}, AtomicBatches: true}

// pair returns two messages of one interaction, on a condition for all its subjects.
func pair(id string, last uint64) []broker.Publication {
	return []broker.Publication{
		{
			Subject: "o.processed.x." + id, Data: []byte("1"), ID: id + "x",
			Header: broker.Header{"traceparent": {"one"}}, If: broker.Condition{Subjects: "o.*.*." + id, Last: last},
		},
		{
			Subject: "o.processed.y." + id, Data: []byte("2"), ID: id + "y",
			Header: broker.Header{"traceparent": {"two"}},
		},
	}
}

// withoutIDs returns the same messages without IDs.
func withoutIDs(all []broker.Publication) []broker.Publication {
	for i := range all {
		all[i].ID = ""
	}
	return all
}

// publishAll publishes a batch on subjects of the case.
func (s *stage) publishAll(all []broker.Publication) (broker.Ack, error) {
	var prefixed []broker.Publication
	for _, p := range all {
		p.Subject = s.on(p.Subject)
		if p.If.Subjects != "" {
			p.If.Subjects = s.on(p.If.Subjects)
		}
		prefixed = append(prefixed, p)
	}
	return s.PublishAll(s.ctx, prefixed)
}

// putAll publishes a batch, which must be stored. It returns the sequence of the last message.
func (s *stage) putAll(all []broker.Publication) uint64 {
	s.Helper()
	ack, err := s.publishAll(all)
	if err != nil || ack.Duplicate {
		s.Fatalf("publish all: %+v, error %v", ack, err)
	}
	return ack.Sequence
}

// rejects fails the test unless a batch fails with an error of this kind, and stores nothing.
func (s *stage) rejects(all []broker.Publication, kind error) {
	s.Helper()
	before := s.last("S", ">")
	_, err := s.publishAll(all)
	s.fails(err, kind)
	if got := s.last("S", ">"); got != before {
		s.Errorf("last message %d after a rejected batch, want %d", got, before)
	}
}

var batchCases = []testCase{
	{name: "a batch is stored together", streams: just(batched), run: func(s *stage) {
		before := s.put(broker.Publication{Subject: "o.processed.x.other"})
		last := s.putAll(pair("1", 0))
		if last != before+2 {
			s.Errorf("the last message of the batch is %d, want %d", last, before+2)
		}
		for i, want := range pair("1", 0) {
			m, err := s.Get(s.ctx, s.of("S"), before+1+uint64(i))
			if err != nil || s.short(m.Subject) != want.Subject || string(m.Data) != string(want.Data) ||
				m.Header.Get("traceparent") != want.Header.Get("traceparent") ||
				m.Header.Get(broker.HeaderID) != want.ID {
				s.Errorf("message %d of the batch is %+v, error %v", i, m, err)
			}
		}
		if n := len(pair("1", 0)[0].Header); n != 1 {
			s.Errorf("the header of the publication has %d fields, want 1", n)
		}
		s.putAll(pair("2", 0)) // another family
		s.putAll([]broker.Publication{{Subject: "o.processed.x.3"}, {Subject: "o.processed.y.3"}})
		// The last message of the batch is the last of its family.
		s.rejects(withoutIDs(pair("1", last-1)), broker.ErrRejected)
		s.putAll(withoutIDs(pair("1", last)))
	}},
	{name: "a batch whose condition is false", streams: just(batched), run: func(s *stage) {
		s.rejects(pair("1", 7), broker.ErrRejected)
		failed := s.put(broker.Publication{Subject: "o.failed.z.1"})
		s.rejects(pair("1", 0), broker.ErrRejected)
		s.putAll(pair("1", failed))
	}},
	{name: "the same batch again", streams: with(batched,
		func(c *broker.StreamConfig) { c.Duplicates = 500 * time.Millisecond }), run: func(s *stage) {
		last := s.putAll(pair("1", 0))
		stored, err := s.Get(s.ctx, s.of("S"), last)
		s.check(err)
		_, err = s.publishAll(pair("1", 0))
		if s.now("S").Sub(stored.Time) < 500*time.Millisecond { // otherwise the machine is too slow
			s.fails(err, broker.ErrDuplicate)
		}
		s.passes("S", stored.Time.Add(600*time.Millisecond))
		s.rejects(pair("1", 0), broker.ErrRejected)
		s.rejects(withoutIDs(pair("1", 0)), broker.ErrRejected)
	}},
	{name: "a batch with an ID that was used", streams: just(batched), run: func(s *stage) {
		second := pair("1", 0)[1]
		s.put(second)
		s.rejects(pair("1", 1), broker.ErrDuplicate)
		twice := pair("2", 0)
		twice[1].ID = twice[0].ID
		s.rejects(twice, broker.ErrDuplicate)
		// The ID of a deleted message remains known.
		s.check(s.Delete(s.ctx, s.of("S"), s.last("S", second.Subject)))
		s.rejects(pair("1", 0), broker.ErrDuplicate)
		s.putAll(withoutIDs(pair("1", 0)))
		// So do those of a batch.
		ack, err := s.publish(pair("2", 0)[0])
		if s.check(err); ack.Duplicate {
			s.Error("a rejected batch has used an ID")
		}
		s.putAll(pair("3", 0))
		if ack, err = s.publish(broker.Publication{Subject: "o.a.b.4", ID: "3y"}); err != nil || !ack.Duplicate {
			s.Errorf("publish with the ID of a batch: %+v, error %v, want a duplicate", ack, err)
		}
	}},
	{name: "a batch on a stream without batches", streams: just(outcomes), run: func(s *stage) {
		s.rejects(pair("1", 0), broker.ErrUnsupported)
		state, err := s.Stream(s.ctx, s.of("S"))
		if err != nil || state.AtomicBatches {
			s.Errorf("state %+v, error %v, want no atomic batches", state, err)
		}
	}},
	{name: "a stream with batches", streams: just(batched), run: func(s *stage) {
		state, err := s.Stream(s.ctx, s.of("S"))
		if err != nil || !state.AtomicBatches {
			s.Errorf("state %+v, error %v, want atomic batches", state, err)
		}
	}},
	{name: "a batch with a message that is too large", streams: just(batched), run: func(s *stage) {
		for i := range 2 {
			all := pair("1", 0)
			all[i].Data = make([]byte, 1<<20+1)
			s.rejects(all, broker.ErrTooLarge)
		}
		s.putAll(pair("1", 0))
	}},
	{name: "a batch on subjects of no stream", streams: just(batched), run: func(s *stage) {
		s.rejects([]broker.Publication{{Subject: "one"}, {Subject: "two"}}, broker.ErrNoAnswer)
	}},
	{name: "a batch with an ended context", streams: just(batched), run: func(s *stage) {
		ended, end := context.WithCancel(s.ctx)
		end()
		_, err := s.PublishAll(ended, []broker.Publication{{Subject: s.on("o.a.b.1")}, {Subject: s.on("o.a.b.2")}})
		s.fails(err, broker.ErrNoAnswer)
	}},
	{name: "concurrent batches", streams: just(batched), run: func(s *stage) {
		const racers = 8
		var all sync.WaitGroup
		var stored atomic.Int64
		for range racers {
			all.Go(func() {
				_, err := s.publishAll(withoutIDs(pair("1", 0)))
				switch {
				case err == nil:
					stored.Add(1)
				case !errors.Is(err, broker.ErrRejected):
					s.Errorf("error %v, want %v", err, broker.ErrRejected)
				}
			})
		}
		all.Wait()
		found, err := s.Subjects(s.ctx, s.of("S"), s.on("o.>"))
		if err != nil || stored.Load() != 1 || len(found) != 2 || s.last("S", ">") != 2 {
			s.Errorf("%d batches are stored, as %v, error %v; want one", stored.Load(), found, err)
		}
	}},
	{name: "many concurrent batches", streams: just(batched), run: func(s *stage) {
		// More than a broker stages at a time. It can reject some, which are published again.
		const many = 80
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				id := string(rune('A'+i/26)) + string(rune('a'+i%26))
				s.until("batch "+id, func() error { _, err := s.publishAll(pair(id, 0)); return err })
			})
		}
		all.Wait()
		if got := s.last("S", ">"); got != 2*many {
			s.Errorf("%d messages are stored, want %d", got, 2*many)
		}
	}},
	{name: "a batch while the storage is full", limited: true, single: true, streams: just(batched),
		run: func(s *stage) {
			s.fill()
			s.rejects(pair("1", 0), broker.ErrFull)
			s.free()
			s.until("free storage", func() error { _, err := s.publishAll(pair("1", 0)); return err })
		}},
	{name: "a restart keeps a batch", streams: just(batched), restarts: true, run: func(s *stage) {
		last := s.putAll(pair("1", 0))
		s.stop()
		s.start()
		s.now("S")
		s.rejects(pair("1", 0), broker.ErrDuplicate)
		s.rejects(withoutIDs(pair("1", 0)), broker.ErrRejected)
		if got := s.last("S", ">"); got != last {
			s.Errorf("last message %d, want %d", got, last)
		}
		s.putAll(pair("2", 0))
	}},
}
