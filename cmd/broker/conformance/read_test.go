package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"statusworker/schema/broker"
)

var errEnough = errors.New("enough")

var readCases = []testCase{
	{name: "a message as it was published", streams: just(outcomes), run: func(s *stage) {
		sent := broker.Header{"traceparent": {"lower"}, "Traceparent": {"upper"}, "X-Two": {"1", "2"}}
		sequence := s.put(broker.Publication{Subject: "o.a.b.1", Header: sent, Data: []byte("a\x00\xff\r\nb"),
			ID: "one"})
		s.put(broker.Publication{Subject: "o.a.b.2"})
		m, err := s.Get(s.ctx, s.of("S"), sequence)
		s.check(err)
		if m.Subject != s.on("o.a.b.1") || string(m.Data) != "a\x00\xff\r\nb" || m.Sequence != sequence ||
			m.Header.Get("TRACEPARENT") != "" {
			s.Errorf("message %+v", m)
		}
		for name, values := range sent {
			if !slices.Equal(m.Header[name], values) {
				s.Errorf("header %s is %q, want %q", name, m.Header[name], values)
			}
		}
		if m.Header.Get(broker.HeaderID) != "one" || len(sent) != 3 {
			s.Errorf("headers %v, sent %v", m.Header, sent)
		}
		if bare, err := s.Get(s.ctx, s.of("S"), sequence+1); err != nil || len(bare.Header) != 0 ||
			len(bare.Data) != 0 {
			s.Errorf("an empty message: %+v, error %v", bare, err)
		}
	}},
	{name: "the last message over wildcards", streams: just(outcomes), run: func(s *stage) {
		one := s.put(broker.Publication{Subject: "o.a.b.1"})
		two := s.put(broker.Publication{Subject: "o.c.d.1"})
		three := s.put(broker.Publication{Subject: "o.a.b.2"})
		for subjects, want := range map[string]uint64{
			"o.a.b.1": one, "o.*.*.1": two, "o.*.b.*": three, "o.>": three, "o.a.>": three, "o.c.>": two, "o.*.*.3": 0,
			"o.a": 0, "o.a.b": 0,
		} {
			if got := s.last("S", subjects); got != want {
				s.Errorf("last message %d on %s, want %d", got, subjects, want)
			}
		}
	}},
	{name: "messages by sequence", streams: just(outcomes), run: func(s *stage) {
		var sequences []uint64
		for i := range 4 {
			sequences = append(sequences, s.put(broker.Publication{Subject: fmt.Sprintf("o.a.b.%d", i%2)}))
		}
		s.check(s.Delete(s.ctx, s.of("S"), sequences[1]))
		for i, sequence := range append(sequences, 99) {
			m, err := s.Get(s.ctx, s.of("S"), sequence)
			if there := i != 1 && i < 4; there != (err == nil) || there && m.Sequence != sequence {
				s.Errorf("message %d: %+v, error %v", sequence, m, err)
			}
			if err != nil {
				s.fails(err, broker.ErrNotFound)
			}
		}
		for _, c := range []struct {
			subjects string
			from     uint64
			want     uint64
		}{
			{"o.a.b.0", 0, sequences[0]}, {"o.a.b.0", sequences[0], sequences[0]},
			{"o.a.b.0", sequences[0] + 1, sequences[2]},
			{"o.a.b.1", 0, sequences[3]}, {"o.*.*.*", sequences[1], sequences[2]}, {"o.a.b.0", sequences[3], 0},
			{"o.a.b.7", 0, 0}, {"o.>", 99, 0},
		} {
			m, err := s.Next(s.ctx, s.of("S"), s.on(c.subjects), c.from)
			if m.Sequence != c.want || (c.want == 0) != errors.Is(err, broker.ErrNotFound) {
				s.Errorf("first message %d on %s from %d, error %v, want %d",
					m.Sequence, c.subjects, c.from, err, c.want)
			}
		}
	}},
	{name: "a scan", streams: just(outcomes), run: func(s *stage) {
		var sequences []uint64
		for i := range 6 {
			time.Sleep(2 * time.Millisecond) // so that no two have the same time
			sequences = append(sequences, s.put(broker.Publication{Subject: fmt.Sprintf("o.a.b.%d", i%3)}))
		}
		s.check(s.Delete(s.ctx, s.of("S"), sequences[2]))
		fourth, err := s.Get(s.ctx, s.of("S"), sequences[3])
		s.check(err)
		scan := func(r broker.Range) (got []uint64) {
			r.Subjects = prefixed(s.prefix, r.Subjects)
			later := uint64(0)
			s.until("the scan", func() error {
				return s.Scan(s.ctx, s.of("S"), r, func(m broker.Message) error {
					if len(got) == 0 {
						later = s.put(broker.Publication{Subject: "o.a.b.0"}) // not in the range
					}
					got = append(got, m.Sequence)
					r.From, r.Since = m.Sequence+1, time.Time{} // to continue after an error
					return nil
				})
			})
			if later > 0 {
				s.check(s.Delete(s.ctx, s.of("S"), later))
			}
			return got
		}
		q := sequences
		for i, c := range []struct {
			r    broker.Range
			want []uint64
		}{
			{broker.Range{Subjects: []string{"o.a.>"}}, []uint64{q[0], q[1], q[3], q[4], q[5]}},
			{broker.Range{Subjects: []string{"o.a.b.0", "o.a.b.2"}}, []uint64{q[0], q[3], q[5]}},
			{broker.Range{Subjects: []string{"o.a.>"}, From: q[2]}, []uint64{q[3], q[4], q[5]}},
			{broker.Range{Subjects: []string{"o.a.>"}, Since: fourth.Time}, []uint64{q[3], q[4], q[5]}},
			{broker.Range{Subjects: []string{"o.a.b.7"}}, nil},
		} {
			if got := scan(c.r); !slices.Equal(got, c.want) {
				s.Errorf("scan %d: %v, want %v", i, got, c.want)
			}
			c.r.Subjects = prefixed(s.prefix, c.r.Subjects)
			s.until("the count", func() error {
				n, err := s.Count(s.ctx, s.of("S"), c.r)
				if err == nil && n != uint64(len(c.want)) {
					s.Errorf("count %d: %d, want %d", i, n, len(c.want))
				}
				return err
			})
		}
		got := 0
		err = s.Scan(s.ctx, s.of("S"), broker.Range{}, func(broker.Message) error {
			got++
			return errEnough
		})
		if got != 1 || !errors.Is(err, errEnough) {
			s.Errorf("an ended scan: %d messages, error %v", got, err)
		}
	}},
	{name: "stored subjects", streams: just(outcomes), run: func(s *stage) {
		for _, subject := range []string{"o.a.b.1", "o.a.b.1", "o.c.b.1", "o.a.b.2"} {
			s.put(broker.Publication{Subject: subject})
		}
		got, err := s.Subjects(s.ctx, s.of("S"), s.on("o.*.*.1"))
		want := map[string]uint64{s.on("o.a.b.1"): 2, s.on("o.c.b.1"): 1}
		if err != nil || !reflect.DeepEqual(got, want) {
			s.Errorf("subjects %v, error %v, want %v", got, err, want)
		}
		if got, err = s.Subjects(s.ctx, s.of("S"), s.on("o.*.*.3")); err != nil || got == nil || len(got) > 0 {
			s.Errorf("subjects %v, error %v, want an empty map", got, err)
		}
	}},
	{name: "a deletion", streams: append(with(outcomesAt("D", "d.>"), denyDelete), outcomes), run: func(s *stage) {
		s.fails(s.Delete(s.ctx, s.of("D"), s.put(broker.Publication{Subject: "d.1"})), nil)
		sequence := s.put(broker.Publication{Subject: "o.a.b.1"})
		s.check(s.Delete(s.ctx, s.of("S"), sequence))
		s.fails(s.Delete(s.ctx, s.of("S"), sequence), broker.ErrNotFound)
		s.fails(s.Delete(s.ctx, s.of("S"), sequence+7), broker.ErrNotFound)
	}},
	{name: "the state of a stream", streams: just(queue), run: func(s *stage) {
		state := func() broker.StreamState {
			got, err := s.Stream(s.ctx, s.of("S"))
			s.check(err)
			return got
		}
		if got := state(); got.Messages != 0 || got.Bytes != 0 || got.First != 1 || got.Last != 0 ||
			!got.FirstTime.IsZero() || got.Consumers != 1 || got.Now.IsZero() || got.Leader != "" != s.inCluster {
			s.Errorf("state of an empty stream: %+v", got)
		}
		before := state().Now
		s.put(broker.Publication{Subject: "q.1"})
		s.put(broker.Publication{Subject: "q.2"})
		first, err := s.Get(s.ctx, s.of("S"), 1)
		s.check(err)
		got := state()
		if got.Messages != 2 || got.Bytes == 0 || got.First != 1 || got.Last != 2 || !got.FirstTime.Equal(first.Time) {
			s.Errorf("state %+v, first message of %v", got, first.Time)
		}
		if first.Time.Before(before) || got.Now.Before(first.Time) {
			s.Errorf("message of %v, stored between %v and %v", first.Time, before, got.Now)
		}
		for _, d := range s.pull("S", "c", 2) {
			s.confirm(d)
		}
		s.gone("S", ">")
		if got := state(); got.Messages != 0 || got.First != 3 || got.Last != 2 || !got.FirstTime.IsZero() {
			s.Errorf("state of a stream that is empty again: %+v", got)
		}
	}},
	{
		name:    "direct gets",
		streams: append(with(outcomesAt("D", "d.>"), directGets), outcomes),
		run: func(s *stage) {
			for stream, want := range map[string]bool{"D": true, "S": false} {
				if got, err := s.Stream(s.ctx, s.of(stream)); err != nil || got.DirectGets != want {
					s.Errorf("state of %s: %+v, error %v, want direct gets %t", stream, got, err, want)
				}
			}
		},
	},
	{name: "missing streams and consumers", streams: just(queue), run: func(s *stage) {
		none := s.of("NONE")
		_, err := s.Last(s.ctx, none, "x")
		s.fails(err, broker.ErrStreamNotFound)
		_, err = s.Get(s.ctx, none, 1)
		s.fails(err, broker.ErrStreamNotFound)
		_, err = s.Next(s.ctx, none, "x", 1)
		s.fails(err, broker.ErrStreamNotFound)
		_, err = s.Subjects(s.ctx, none, "x")
		s.fails(err, broker.ErrStreamNotFound)
		_, err = s.Count(s.ctx, none, broker.Range{})
		s.fails(err, broker.ErrStreamNotFound)
		_, err = s.Stream(s.ctx, none)
		s.fails(err, broker.ErrStreamNotFound)
		_, err = s.Consumer(s.ctx, none, "c")
		s.fails(err, broker.ErrStreamNotFound)
		_, err = s.Consumer(s.ctx, s.of("S"), "none")
		s.fails(err, broker.ErrConsumerNotFound)
		s.fails(s.Delete(s.ctx, none, 1), broker.ErrStreamNotFound)
		s.fails(s.Scan(s.ctx, none, broker.Range{}, func(broker.Message) error { return nil }),
			broker.ErrStreamNotFound)
		p := s.Puller(s.of("S"), "none")
		defer p.Close()
		s.fails(p.Pull(1, 100*time.Millisecond, func(broker.Delivery) {}), broker.ErrNoAnswer)
	}},
	{name: "a context that has ended", streams: just(queue), run: func(s *stage) {
		ended, end := context.WithCancel(s.ctx)
		end()
		_, err := s.Last(ended, s.of("S"), s.on("q.1"))
		s.fails(err, broker.ErrNoAnswer)
		if !errors.Is(err, context.Canceled) {
			s.Errorf("error %v, want it to wrap %v", err, context.Canceled)
		}
		_, err = s.Publish(ended, broker.Publication{Subject: s.on("q.1")})
		s.fails(err, broker.ErrNoAnswer)
	}},
}

func denyDelete(c *broker.StreamConfig) { c.DenyDelete = true }

func directGets(c *broker.StreamConfig) { c.DirectGets = true }
