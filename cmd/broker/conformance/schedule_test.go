package conformance_test

import (
	"errors"
	"fmt"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema/broker"
)

// polls is a stream like that of reservations and due messages.
var polls = broker.StreamConfig{
	Name: "S", Subjects: []string{"hold.*.*", "poll.*.*"}, WorkQueue: true, Schedules: true,
	Consumers: []broker.ConsumerConfig{{Name: "c", Filter: "poll.a.*", AckWait: time.Minute, MaxAckPending: -1}},
}

// soon is how long the schedules of these cases wait. A real broker fires them up to a third of a second late.
const soon = 600 * time.Millisecond

// reserve is a schedule of an interaction of the type a, on a condition over all types.
func (s *stage) reserve(id string, due time.Time, expected uint64) (uint64, error) {
	ack, err := s.publish(broker.Publication{
		Subject: "hold.a." + id, Header: broker.Header{"Statusworker-Poll": {"7"}}, Data: []byte("declared"),
		If: broker.Condition{Subjects: "hold.*." + id, Last: expected}, Schedule: broker.Schedule{At: due,
			Target: "poll.a." + id},
	})
	return ack.Sequence, err
}

// holds reserves, which must succeed.
func (s *stage) holds(id string, due time.Time, expected uint64) uint64 {
	s.Helper()
	sequence, err := s.reserve(id, due, expected)
	s.check(err)
	return sequence
}

// attempt is what early did in time.
type attempt struct {
	id  string
	due time.Time
}

// early calls do with an interaction and a moment, before which it must have returned. On a machine that is too slow
// for that it is called again, with another interaction and more time.
func (s *stage) early(do func(id string, due time.Time)) attempt {
	for n, wait := 0, soon; ; n, wait = n+1, 2*wait {
		a := attempt{fmt.Sprint("try", n), s.now("S").Add(wait)}
		do(a.id, a.due)
		if s.now("S").Before(a.due) {
			return a
		}
	}
}

// comes waits for the due message of an interaction. What is due of others meanwhile stays out.
func (s *stage) comes(id string) broker.Delivery {
	s.Helper()
	for {
		if d := s.pull("S", "c", 1)[0]; s.short(d.Subject) == "poll.a."+id {
			return d
		}
	}
}

var scheduleCases = []testCase{
	{name: "a schedule fires", streams: just(polls), run: func(s *stage) {
		late := s.now("S").Add(time.Hour)
		pending, err := s.Get(s.ctx, s.of("S"), s.holds("2", late, 0))
		s.check(err)
		if !pending.Due().Equal(late) || string(pending.Data) != "declared" ||
			pending.Header.Get("Statusworker-Poll") != "7" {
			s.Errorf("the schedule for %v is stored as %+v", late, pending)
		}
		due := s.now("S").Add(soon)
		sequence := s.holds("1", due, 0)
		d := s.pull("S", "c", 1)[0]
		s.least(due, d.Time, 0)
		if s.short(d.Subject) != "poll.a.1" || string(d.Data) != "declared" || d.Sequence <= sequence ||
			d.Header.Get("Statusworker-Poll") != "7" {
			s.Errorf("the due message is %+v", d)
		}
		for name, want := range map[string]string{
			broker.HeaderScheduler: s.on("hold.a.1"), broker.HeaderScheduleNext: broker.ScheduleNextIsPurge,
			broker.HeaderSchedule:       "",
			broker.HeaderScheduleTarget: "", broker.HeaderExpected: "", broker.HeaderExpectedOf: "", "Nats-Rollup": "",
		} {
			if got := d.Header.Get(name); got != want {
				s.Errorf("its header %s is %q, want %q", name, got, want)
			}
		}
		if !d.Due().IsZero() {
			s.Errorf("what is due counts as a schedule for %v", d.Due())
		}
		if s.last("S", "hold.*.1") != 0 || s.last("S", "hold.*.2") == 0 {
			s.Error("firing purges its subject, and no other")
		}
	}},
	{name: "a schedule that is pending refuses another", streams: just(polls), run: func(s *stage) {
		late := s.now("S").Add(time.Hour)
		first := s.holds("1", late, 0)
		for range 3 {
			_, err := s.reserve("1", late, 0)
			s.fails(err, broker.ErrRefused)
		}
		_, err := s.publish(broker.Publication{
			Subject: "hold.b.1", If: broker.Condition{Subjects: "hold.*.1"}, Schedule: broker.Schedule{At: late,
				Target: "poll.b.1"},
		})
		s.fails(err, broker.ErrRefused)
		if got := s.last("S", "hold.*.1"); got != first {
			s.Errorf("%d is pending, want %d", got, first)
		}
		// When it has fired, the subject counts as empty, although its message is out.
		s.holds("2", s.now("S").Add(soon), 0)
		s.pull("S", "c", 1)
		s.until("the next reservation", func() error { _, err := s.reserve("2", late, 0); return err })
	}},
	{name: "a refused reservation that has just fired", streams: just(polls),
		options: fake.Options{FiredSeen: 70 * time.Millisecond}, run: func(s *stage) {
			// As a worker does it: as soon as a message is due, the next reservation is made. It may be refused,
			// because what has fired is seen for a moment. Then what is seen is this poll's own reservation, or none;
			// and soon it succeeds.
			refused := 0
			sequence := s.holds("1", s.now("S").Add(soon), 0)
			for range 3 {
				d := s.pull("S", "c", 1)[0]
				next := uint64(0)
				s.until("the next reservation", func() (err error) {
					next, err = s.reserve("1", s.now("S").Add(soon/2), 0)
					if err == nil {
						return nil
					}
					s.fails(err, broker.ErrRefused)
					refused++
					seen, readErr := s.Last(s.ctx, s.of("S"), s.on("hold.*.1"))
					if readErr == nil && seen.Sequence != sequence {
						s.Fatalf("%d is pending, after %d", seen.Sequence, sequence)
					}
					return err
				})
				s.check(s.Ack(d))
				sequence = next
			}
			if s.fake != nil && refused == 0 {
				s.Error("nothing was refused")
			}
		}},
	{name: "a schedule is replaced by a later one", streams: just(polls), run: func(s *stage) {
		late := s.early(func(id string, early time.Time) {
			late := early.Add(soon)
			first, _ := s.reserve(id+"a", early, 0)
			_, _ = s.reserve(id+"a", late, first)
			// Without a condition it is replaced, too.
			for _, due := range []time.Time{early, late} {
				_, _ = s.publish(broker.Publication{Subject: "hold.a." + id + "b",
					Schedule: broker.Schedule{At: due, Target: "poll.a." + id + "b"}})
			}
		})
		s.least(late.due, s.comes(late.id+"a").Time, soon)
		s.least(late.due, s.comes(late.id+"b").Time, soon)
		s.none("S", "c")
	}},
	{name: "what was replaced is gone", streams: just(polls), run: func(s *stage) {
		late := s.now("S").Add(time.Hour)
		first := s.holds("1", late, 0)
		second := s.holds("1", late.Add(time.Hour), first)
		if _, err := s.Get(s.ctx, s.of("S"), first); !errors.Is(err, broker.ErrNotFound) {
			s.Errorf("what was replaced is still there: %v", err)
		}
		_, err := s.reserve("1", late, first)
		s.fails(err, broker.ErrRefused)
		if got := s.last("S", "hold.*.1"); got != second {
			s.Errorf("%d is pending, want %d", got, second)
		}
	}},
	{name: "a schedule is replaced by a sooner one", streams: just(polls), run: func(s *stage) {
		now := s.now("S")
		first := s.holds("1", now.Add(time.Hour), 0)
		s.holds("1", now.Add(soon), first)
		s.least(now.Add(soon), s.comes("1").Time, 0)
	}},
	{name: "a schedule that is deleted never fires", streams: just(polls), run: func(s *stage) {
		ended := s.early(func(id string, due time.Time) {
			deleted, _ := s.reserve(id+"a", due, 0)
			_ = s.Delete(s.ctx, s.of("S"), deleted)
			_, _ = s.reserve(id+"b", due, 0)
			_, _ = s.publish(broker.Publication{Subject: "hold.a." + id + "b"}) // what is no schedule ends it
		})
		s.holds("after", ended.due.Add(soon), 0)
		s.comes("after")
		for _, id := range []string{ended.id + "a", ended.id + "b"} {
			if s.last("S", "poll.a."+id) != 0 {
				s.Errorf("%s has fired", id)
			}
		}
		s.holds(ended.id+"a", ended.due.Add(time.Hour), 0) // the subject is free again
	}},
	{name: "a schedule for a time that has passed", streams: just(polls), run: func(s *stage) {
		now := s.now("S")
		sequence := s.holds("1", now.Add(-time.Hour), 0)
		d := s.pull("S", "c", 1)[0]
		s.least(now, d.Time, 0)
		if d.Sequence <= sequence || s.last("S", "hold.*.1") != 0 {
			s.Errorf("the due message %d follows %d", d.Sequence, sequence)
		}
	}},
	{name: "many schedules fire once each", streams: just(polls), run: func(s *stage) {
		const many = 60
		due := s.now("S").Add(soon)
		for i := range many {
			s.holds(fmt.Sprint(i), due.Add(time.Duration(i)*time.Millisecond), 0)
		}
		seen := map[string]bool{}
		for _, d := range s.pull("S", "c", many) {
			if seen[d.Subject] {
				s.Errorf("%s is due twice", d.Subject)
			}
			seen[d.Subject] = true
			s.least(due, d.Time, 0)
			s.check(s.Ack(d))
		}
		s.none("S", "c")
	}},
	{name: "what is due counts in a wider condition", streams: just(polls), run: func(s *stage) {
		all := func() error {
			_, err := s.publish(broker.Publication{
				Subject: "hold.a.1", If: broker.Condition{Subjects: "*.*.1"},
				Schedule: broker.Schedule{At: s.now("S").Add(time.Hour), Target: "poll.a.1"},
			})
			return err
		}
		s.holds("1", s.now("S").Add(soon), 0)
		s.fails(all(), broker.ErrRefused)
		d := s.pull("S", "c", 1)[0]
		s.fails(all(), broker.ErrRefused)
		s.confirm(d)
		s.until("the first reservation", all)
	}},
	{name: "a schedule that is not allowed", streams: just(polls, outcomesAt("O", "o.>")), run: func(s *stage) {
		for _, p := range []broker.Publication{
			{Subject: "hold.a.1", Schedule: broker.Schedule{At: s.now("S"), Target: "hold.a.1"}},
			{Subject: "hold.a.1", Schedule: broker.Schedule{At: s.now("S"), Target: "elsewhere"}},
			{Subject: "o.1", Schedule: broker.Schedule{At: s.now("S"), Target: "o.2"}},
		} {
			_, err := s.publish(p)
			s.fails(err, nil)
		}
	}},
}

func outcomesAt(name, subjects string) broker.StreamConfig {
	c := outcomes
	c.Name, c.Subjects = name, []string{subjects}
	return c
}
