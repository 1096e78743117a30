package conformance_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema/broker"
)

// polls is a stream like the stream of reservations and due messages.
var polls = broker.StreamConfig{
	Name: "S", Subjects: []string{"hold.*.*", "poll.*.*"}, WorkQueue: true, Schedules: true,
	Consumers: []broker.ConsumerConfig{{Name: "c", Filter: "poll.a.*", AckWait: time.Minute, MaxAckPending: -1}},
}

// changes is a header with several values.
var changes = []string{"1 2026-11-27T01:02:03.456Z processing", "3 2026-11-27T01:03:03.456Z ein Status: fileÜ"}

// soon is the delay of the schedules of these cases. A real broker fires them up to a third of a second late.
const soon = 600 * time.Millisecond

// reserve publishes a reservation of an interaction of type a, on a condition for all types.
func (s *stage) reserve(id string, due time.Time, expected uint64) (uint64, error) {
	ack, err := s.publish(broker.Publication{
		Subject: "hold.a." + id, Data: []byte("declared"),
		Header:   broker.Header{"Statusworker-Poll": {"7"}, "Statusworker-History": slices.Clone(changes)},
		If:       broker.Condition{Subjects: "hold.*." + id, Last: expected},
		Schedule: broker.Schedule{At: due, Target: "poll.a." + id},
	})
	return ack.Sequence, err
}

// holds publishes a reservation, which must succeed.
func (s *stage) holds(id string, due time.Time, expected uint64) uint64 {
	s.Helper()
	sequence, err := s.reserve(id, due, expected)
	s.check(err)
	return sequence
}

// attempt is a call of early that returned in time.
type attempt struct {
	id  string
	due time.Time
}

// early calls do with an interaction and a time before which it must return. If the machine is too slow, it calls do
// again with another interaction and more time.
func (s *stage) early(do func(id string, due time.Time)) attempt {
	for n, wait := 0, soon; ; n, wait = n+1, 2*wait {
		a := attempt{fmt.Sprint("try", n), s.now("S").Add(wait)}
		do(a.id, a.due)
		if s.now("S").Before(a.due) {
			return a
		}
	}
}

// comes waits for the due message of an interaction. It leaves those of others pending.
func (s *stage) comes(id string) broker.Delivery {
	s.Helper()
	for {
		if d := s.pull("S", "c", 1)[0]; s.short(d.Subject) == "poll.a."+id {
			return d
		}
	}
}

var scheduleCases = []testCase{
	{name: "a maximum size deletes schedules", streams: with(polls, func(c *broker.StreamConfig) {
		c.MaxBytes = 3000
	}), run: func(s *stage) {
		var state broker.StreamState
		stored := s.early(func(id string, due time.Time) {
			for _, one := range []string{"1", "2", "3"} {
				s.put(broker.Publication{
					Subject: "hold.a." + id + one, Data: make([]byte, 1000),
					Schedule: broker.Schedule{At: due, Target: "poll.a." + id + one},
				})
			}
			var err error
			state, err = s.Stream(s.ctx, s.of("S"))
			s.check(err)
			s.gone("S", "hold.a."+id+"1")
		})
		if state.MaxBytes != 3000 || state.Messages != 2 || state.Bytes > 3000 {
			s.Errorf("state %+v, want 2 messages and a maximum of 3000 bytes", state)
		}
		s.until("both other schedules to fire", func() error {
			if s.last("S", "poll.a."+stored.id+"2") == 0 || s.last("S", "poll.a."+stored.id+"3") == 0 {
				return errors.New("they have not fired")
			}
			return nil
		})
		s.gone("S", "poll.a."+stored.id+"1")
	}},
	{name: "a schedule fires", streams: just(polls), run: func(s *stage) {
		late := s.now("S").Add(time.Hour)
		pending, err := s.Get(s.ctx, s.of("S"), s.holds("2", late, 0))
		s.check(err)
		if !pending.Due().Equal(late) || string(pending.Data) != "declared" ||
			pending.Header.Get("Statusworker-Poll") != "7" {
			s.Errorf("schedule for %v stored as %+v", late, pending)
		}
		due := s.now("S").Add(soon)
		sequence := s.holds("1", due, 0)
		d := s.pull("S", "c", 1)[0]
		s.least(due, d.Time, 0)
		if s.short(d.Subject) != "poll.a.1" || string(d.Data) != "declared" || d.Sequence <= sequence ||
			d.Header.Get("Statusworker-Poll") != "7" {
			s.Errorf("due message %+v", d)
		}
		for name, want := range map[string]string{
			broker.HeaderScheduler: s.on("hold.a.1"), broker.HeaderScheduleNext: broker.ScheduleNextIsPurge,
			broker.HeaderSchedule: "", broker.HeaderScheduleTarget: "",
			broker.HeaderExpected: "", broker.HeaderExpectedOf: "", "Nats-Rollup": "",
		} {
			if got := d.Header.Get(name); got != want {
				s.Errorf("header %s of the due message is %q, want %q", name, got, want)
			}
		}
		if got := d.Header["Statusworker-History"]; !slices.Equal(got, changes) {
			s.Errorf("the due message has the header values %q, want %q", got, changes)
		}
		if !d.Due().IsZero() {
			s.Errorf("the due message has a schedule for %v", d.Due())
		}
		if s.last("S", "hold.*.1") != 0 || s.last("S", "hold.*.2") == 0 {
			s.Error("firing must purge its subject, and no other")
		}
	}},
	{name: "a pending schedule makes another fail", streams: just(polls), run: func(s *stage) {
		late := s.now("S").Add(time.Hour)
		first := s.holds("1", late, 0)
		for range 3 {
			_, err := s.reserve("1", late, 0)
			s.fails(err, broker.ErrRejected)
		}
		_, err := s.publish(broker.Publication{
			Subject: "hold.b.1", If: broker.Condition{Subjects: "hold.*.1"},
			Schedule: broker.Schedule{At: late, Target: "poll.b.1"},
		})
		s.fails(err, broker.ErrRejected)
		if got := s.last("S", "hold.*.1"); got != first {
			s.Errorf("reservation %d is stored, want %d", got, first)
		}
		// After it has fired, the condition is met, although its due message is pending.
		s.holds("2", s.now("S").Add(soon), 0)
		s.pull("S", "c", 1)
		s.until("the next reservation", func() error { _, err := s.reserve("2", late, 0); return err })
	}},
	{name: "a reservation right after its schedule has fired", streams: just(polls),
		options: fake.Options{FiredSeen: 70 * time.Millisecond}, run: func(s *stage) {
			// A worker publishes the next reservation as soon as a message is due. It can fail, because the fired
			// schedule remains visible for a short time. A read then returns the reservation of this poll, or none.
			// Soon the next reservation succeeds.
			rejected := 0
			sequence := s.holds("1", s.now("S").Add(soon), 0)
			for range 3 {
				d := s.pull("S", "c", 1)[0]
				next := uint64(0)
				s.until("the next reservation", func() (err error) {
					next, err = s.reserve("1", s.now("S").Add(soon/2), 0)
					if err == nil {
						return nil
					}
					s.fails(err, broker.ErrRejected)
					rejected++
					seen, readErr := s.Last(s.ctx, s.of("S"), s.on("hold.*.1"))
					if readErr == nil && seen.Sequence != sequence {
						s.Fatalf("reservation %d is stored, want %d", seen.Sequence, sequence)
					}
					return err
				})
				s.check(s.Ack(d))
				sequence = next
			}
			if s.fake != nil && rejected == 0 {
				s.Error("no reservation failed")
			}
		}},
	{name: "a schedule is replaced by a later one", streams: just(polls), run: func(s *stage) {
		late := s.early(func(id string, early time.Time) {
			late := early.Add(soon)
			first, _ := s.reserve(id+"a", early, 0)
			_, _ = s.reserve(id+"a", late, first)
			// Also without a condition.
			for _, due := range []time.Time{early, late} {
				_, _ = s.publish(broker.Publication{Subject: "hold.a." + id + "b",
					Schedule: broker.Schedule{At: due, Target: "poll.a." + id + "b"}})
			}
		})
		s.least(late.due, s.comes(late.id+"a").Time, soon)
		s.least(late.due, s.comes(late.id+"b").Time, soon)
		s.none("S", "c")
	}},
	{name: "a replaced schedule is removed", streams: just(polls), run: func(s *stage) {
		late := s.now("S").Add(time.Hour)
		first := s.holds("1", late, 0)
		second := s.holds("1", late.Add(time.Hour), first)
		if _, err := s.Get(s.ctx, s.of("S"), first); !errors.Is(err, broker.ErrNotFound) {
			s.Errorf("reading the replaced schedule: error %v, want %v", err, broker.ErrNotFound)
		}
		_, err := s.reserve("1", late, first)
		s.fails(err, broker.ErrRejected)
		if got := s.last("S", "hold.*.1"); got != second {
			s.Errorf("reservation %d is stored, want %d", got, second)
		}
	}},
	{name: "a schedule is replaced by a sooner one", streams: just(polls), run: func(s *stage) {
		now := s.now("S")
		first := s.holds("1", now.Add(time.Hour), 0)
		s.holds("1", now.Add(soon), first)
		s.least(now.Add(soon), s.comes("1").Time, 0)
	}},
	{name: "a deleted schedule never fires", streams: just(polls), run: func(s *stage) {
		ended := s.early(func(id string, due time.Time) {
			deleted, _ := s.reserve(id+"a", due, 0)
			_ = s.Delete(s.ctx, s.of("S"), deleted)
			_, _ = s.reserve(id+"b", due, 0)
			_, _ = s.publish(broker.Publication{Subject: "hold.a." + id + "b"}) // a message without a schedule ends it
		})
		s.holds("after", ended.due.Add(soon), 0)
		s.comes("after")
		for _, id := range []string{ended.id + "a", ended.id + "b"} {
			if s.last("S", "poll.a."+id) != 0 {
				s.Errorf("%s has fired", id)
			}
		}
		s.holds(ended.id+"a", ended.due.Add(time.Hour), 0) // the condition is met again
	}},
	{name: "a schedule for a time that has passed", streams: just(polls), run: func(s *stage) {
		now := s.now("S")
		sequence := s.holds("1", now.Add(-time.Hour), 0)
		d := s.pull("S", "c", 1)[0]
		s.least(now, d.Time, 0)
		if d.Sequence <= sequence || s.last("S", "hold.*.1") != 0 {
			s.Errorf("due message %d of schedule %d", d.Sequence, sequence)
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
	{name: "a due message counts for a wider condition", streams: just(polls), run: func(s *stage) {
		all := func() error {
			_, err := s.publish(broker.Publication{
				Subject: "hold.a.1", If: broker.Condition{Subjects: "*.*.1"},
				Schedule: broker.Schedule{At: s.now("S").Add(time.Hour), Target: "poll.a.1"},
			})
			return err
		}
		s.holds("1", s.now("S").Add(soon), 0)
		s.fails(all(), broker.ErrRejected)
		d := s.pull("S", "c", 1)[0]
		s.fails(all(), broker.ErrRejected)
		s.confirm(d)
		s.until("the first reservation", all)
	}},
	{name: "an invalid schedule", streams: just(polls, outcomesAt("O", "o.>")), run: func(s *stage) {
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
