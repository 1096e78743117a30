package dlq_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// counting counts the scans.
type counting struct {
	broker.Broker
	scans int
}

func (c *counting) Scan(ctx context.Context, stream string, r broker.Range, do func(broker.Message) error) error {
	c.scans++
	return c.Broker.Scan(ctx, stream, r, do)
}

// pages reads all pages of a selection, and returns the sequences of their dead letters.
func (s *stage) pages(d *dlq.Queue, f dlq.Filter, n int) (all []uint64, pages int) {
	s.t.Helper()
	for before := uint64(0); ; pages++ {
		selection, err := d.Select(s.ctx, f)
		if err != nil {
			s.t.Fatal(err)
		}
		p, err := selection.Page(s.ctx, before, n)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(p.DeadLetters) > n {
			s.t.Fatalf("%d dead letters on a page of %d", len(p.DeadLetters), n)
		}
		for _, l := range p.DeadLetters {
			all = append(all, l.Sequence)
		}
		if p.Before == 0 {
			return all, pages + 1
		}
		before = p.Before
	}
}

// Pages have every dead letter once, the newest first, whatever lies between them.
func TestPages(t *testing.T) {
	t.Parallel()
	brokers(t, func(t *testing.T, s *stage) {
		counter := &counting{Broker: s.Broker}
		s.Broker = counter
		var want []uint64
		for i := range 100 {
			gap := i % 5
			if i == 50 {
				gap = 300
			}
			for range gap {
				s.put(ns.ProcessedSubject(schema.ToCXAI, uuid.NewString()), "{}")
			}
			want = append(want, s.store(dead(schema.Reasons()[i%len(schema.Reasons())], uuid.NewString())))
		}
		slices.Reverse(want)
		d := s.queue()
		for _, n := range []int{1, 7, 100, 1000} {
			if got, pages := s.pages(d, dlq.Filter{}, n); !slices.Equal(got, want) || pages != (100+n-1)/n {
				t.Errorf("%d pages of %d: %v, want %v", pages, n, got, want)
			}
		}
		counter.scans = 0
		if got, _ := s.pages(d, dlq.Filter{}, 20); !slices.Equal(got, want) || counter.scans > 15 {
			t.Errorf("%d scans for 5 pages", counter.scans)
		}
	})
}

// Pages follow the filter, also where most dead letters do not match it.
func TestPagesOfAFilter(t *testing.T) {
	t.Parallel()
	brokers(t, func(t *testing.T, s *stage) {
		var chats, audios []uint64
		for i := range 90 {
			o := dead(schema.NotFound, uuid.NewString())
			if i%9 == 0 {
				o.Type, o.Detail = schema.Audio, "The Needle"
				audios = append(audios, s.store(o))
				continue
			}
			chats = append(chats, s.store(o))
		}
		slices.Reverse(chats)
		slices.Reverse(audios)
		d := s.queue()
		for name, c := range map[string]struct {
			f    dlq.Filter
			want []uint64
		}{
			"type":   {dlq.Filter{Types: []schema.Type{schema.Chat}}, chats},
			"detail": {dlq.Filter{Detail: "needle"}, audios},
			"both":   {dlq.Filter{Detail: "needle", Types: []schema.Type{schema.Chat}}, nil},
			"reason": {dlq.Filter{Reasons: []schema.Reason{schema.Rejected}}, nil},
			"age":    {dlq.Filter{OlderThan: time.Hour}, nil},
			"as of":  {dlq.Filter{Detail: "needle", AsOf: dlq.Moment{Last: audios[2], Now: time.Now()}}, audios[2:]},
		} {
			if got, _ := s.pages(d, c.f, 4); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	})
}

// A selection as of a moment has the dead letters that an earlier one had, and its counts.
func TestCount(t *testing.T) {
	t.Parallel()
	brokers(t, func(t *testing.T, s *stage) {
		var last uint64
		for _, r := range []schema.Reason{schema.NotFound, schema.NotFound, schema.Rejected} {
			last = s.store(dead(r, uuid.NewString()))
		}
		s.put(ns.ProcessedSubject(schema.ToCXAI, uuid.NewString()), "{}")
		d := s.queue()
		now, err := d.Select(s.ctx, dlq.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		if now.Moment().Last != last+1 || now.Moment().Now.IsZero() {
			t.Errorf("moment %+v", now.Moment())
		}
		s.store(dead(schema.NotFound, uuid.NewString()))
		s.put(ns.FailedSubject("other", "x"), "{}")
		earlier := now.Moment()
		for name, c := range map[string]struct {
			f    dlq.Filter
			want []dlq.Count
		}{
			"all":      {dlq.Filter{}, []dlq.Count{{schema.NotFound, 3}, {schema.Rejected, 1}, {"", 1}}},
			"as of":    {dlq.Filter{AsOf: earlier}, []dlq.Count{{schema.NotFound, 2}, {schema.Rejected, 1}}},
			"a reason": {dlq.Filter{Reasons: []schema.Reason{schema.Rejected}}, []dlq.Count{{schema.Rejected, 1}}},
			"a type": {dlq.Filter{Types: []schema.Type{schema.Chat}},
				[]dlq.Count{{schema.NotFound, 3}, {schema.Rejected, 1}}},
			"young": {dlq.Filter{NewerThan: time.Hour, AsOf: earlier},
				[]dlq.Count{{schema.NotFound, 2}, {schema.Rejected, 1}}},
			"old":       {dlq.Filter{OlderThan: time.Hour}, nil},
			"no detail": {dlq.Filter{Detail: "none of it"}, nil},
		} {
			selection, err := d.Select(s.ctx, c.f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := selection.Count(s.ctx)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
			}
			read := 0
			if err := selection.Each(s.ctx, func(dlq.DeadLetter) error { read++; return nil }); err != nil {
				t.Fatal(err)
			}
			for _, one := range got {
				read -= one.N
			}
			if read != 0 {
				t.Errorf("%s: counted %v, and read %d more", name, got, read)
			}
		}
	})
}
