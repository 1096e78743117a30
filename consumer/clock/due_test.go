package clock

import (
	"testing"
	"time"

	"statusworker/consumer/clock/clocktest"
)

const (
	interval, wait = 5 * time.Second, 5100 * time.Millisecond
	step           = 300 * time.Millisecond
)

// change is a change of the broker's clock.
type change struct {
	leader string // the leader from then on
	by     time.Duration
	after  time.Duration // the change before
	unseen bool          // not measured
}

func (ch change) apply(t *testing.T, b *clocktest.Far, c *Clock) {
	t.Helper()
	b.Local = b.Local.Add(ch.after)
	b.Offset += ch.by
	b.Leader = ch.leader
	if ch.unseen {
		return
	}
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What was reserved by a clock that is behind the one by which it falls due waits for the difference. What was reserved
// by the latter does not wait, and neither does anything if clocks only drift or answers are slow.
func TestClockEarly(t *testing.T) {
	for name, tt := range map[string]struct {
		before  []change // the reservation
		between []change // it and the poll
		want    time.Duration
	}{
		"no change":                    {nil, []change{{by: 0}}, 0},
		"drift":                        {nil, []change{{by: time.Millisecond}, {by: time.Millisecond}}, 0},
		"set back":                     {nil, []change{{by: -step}}, 0},
		"set forward":                  {nil, []change{{by: step}}, step},
		"forward and back":             {nil, []change{{by: step}, {by: -step}}, 0},
		"forward twice":                {nil, []change{{by: step}, {by: step}}, 2 * step},
		"by an hour":                   {nil, []change{{by: time.Hour}}, interval},
		"another leader":               {nil, []change{{leader: "b", by: step}}, step},
		"another leader, not measured": {nil, []change{{leader: "b", by: step, unseen: true}}, step},
		"another leader and back":      {nil, []change{{leader: "b", by: -step}, {by: step}}, 0},
		"reserved by another leader":   {[]change{{leader: "b", by: -step}}, []change{{by: step}}, step},
		"leaders in turn": {nil, []change{{leader: "b", by: step}, {by: -step}, {leader: "b", by: step}},
			step},
		"a leader of before": {[]change{{leader: "b", by: step}, {by: -step, after: time.Second}}, nil, 0},
		// Another worker, which has not measured the step yet, may have made the reservation.
		"set forward just before":  {[]change{{by: step}}, nil, step},
		"set forward a while ago":  {[]change{{by: step}, {after: maxAge + time.Second, unseen: true}}, nil, 0},
		"set back, then forward":   {[]change{{by: -step}}, []change{{by: step}}, step},
		"another leader long ago":  {[]change{{leader: "b", by: -step}, {by: step, after: time.Hour}}, nil, 0},
		"another leader after all": {[]change{{leader: "b", by: -step, after: time.Hour}}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := clocktest.NewFar(0)
			c := measured(t, b)
			b.Local = b.Local.Add(time.Minute)
			for _, ch := range tt.before {
				ch.apply(t, b, c)
			}
			change{leader: b.Leader, unseen: len(tt.before) > 0}.apply(t, b, c)
			due := c.Due(b.Local.Add(wait))
			for _, ch := range tt.between {
				ch.apply(t, b, c)
			}
			fell := fire(b, due)
			if got := c.Early(due, fell, interval); (got - tt.want).Abs() > noise {
				t.Errorf("it waits for %s, want %s", got, tt.want)
			}
			b.Local = b.Local.Add(tt.want)
			if got := c.Early(due, fell, interval); got > noise {
				t.Errorf("after that it waits for %s more", got)
			}
			change{leader: b.Leader, after: maxAge + time.Second}.apply(t, b, c)
			due = c.Due(b.Local.Add(wait))
			if got := c.Early(due, fire(b, due), interval); got != 0 {
				t.Errorf("what was reserved afterwards waits for %s", got)
			}
		})
	}
}

// A worker that has not measured the clock by which a reservation was made, before it was made, waits for the largest
// difference that the clocks of servers may have.
func TestClockUnknown(t *testing.T) {
	for name, tt := range map[string]struct {
		changes []change // after the reservation, before the other worker starts
		due     func(Due) Due
	}{
		"reserved before it started": {nil, nil},
		"by another leader":          {[]change{{leader: "b", by: step}}, nil},
		"the clock was set":          {[]change{{by: step}}, nil},
		"nothing is known of it":     {nil, func(d Due) Due { return Due{At: d.At} }},
	} {
		t.Run(name, func(t *testing.T) {
			b := clocktest.NewFar(0)
			due := measured(t, b).Due(b.Local.Add(wait))
			b.Local = b.Local.Add(time.Second)
			for _, ch := range tt.changes {
				ch.apply(t, b, measured(t, b))
			}
			if tt.due != nil {
				due = tt.due(due)
			}
			c := measured(t, b)
			fell := fire(b, due)
			if got := c.Early(due, fell, interval); got != MaxApart {
				t.Errorf("it waits for %s, want %s", got, MaxApart)
			}
			if got := c.Early(due, fell, time.Second); got != time.Second/5 {
				t.Errorf("with a short interval it waits for %s, want a fifth of it", got)
			}
			b.Local = b.Local.Add(MaxApart)
			if got := c.Early(due, fell, interval); got != 0 {
				t.Errorf("after that it waits for %s more", got)
			}
			due = c.Due(b.Local.Add(wait))
			if got := c.Early(due, fire(b, due), interval); got != 0 {
				t.Errorf("its own reservation waits for %s", got)
			}
			if got := c.Early(Due{}, fell, interval); got != 0 {
				t.Errorf("without a due time it waits for %s", got)
			}
		})
	}
}

// The clock of a server is set back and forward, and two workers measure it at different times: both have measured it
// before, so no poll is early. Reservations are later for some time only.
func TestClockSetTwice(t *testing.T) {
	for name, ago := range map[string]time.Duration{"at once": 0, "after a while": knownFor - every} {
		t.Run(name, func(t *testing.T) {
			b := clocktest.NewFar(0)
			one, other := measured(t, b), measured(t, b)
			b.Local = b.Local.Add(time.Minute)
			for _, c := range []*Clock{one, other} {
				change{}.apply(t, b, c)
			}
			change{by: -step}.apply(t, b, one)
			b.Local = b.Local.Add(ago)
			reserved := b.Local
			due := one.Due(b.Local.Add(wait))
			change{by: step}.apply(t, b, other)
			fell := fire(b, due)
			b.Local = b.Local.Add(other.Early(due, fell, interval))
			if waited := b.Local.Sub(reserved); waited < wait || waited > wait+noise {
				t.Errorf("it is polled after %s, want %s", waited, wait)
			}
			b.Offset -= step
			change{after: knownFor}.apply(t, b, one)
			if due = one.Due(b.Local.Add(wait)); !due.At.Equal(b.Broker().Add(wait)) {
				t.Errorf("long after that a reservation falls due after %s, want %s", due.At.Sub(b.Broker()), wait)
			}
		})
	}
}

// The clock of a server that has not led for some time may have been set meanwhile.
func TestClockMeasuredLongAgo(t *testing.T) {
	for ago, want := range map[time.Duration]time.Duration{knownFor: 0, knownFor + 1: MaxApart} {
		b := clocktest.NewFar(0)
		b.Leader = "a"
		c := measured(t, b)
		b.Local = b.Local.Add(ago)
		due := c.Due(b.Local.Add(wait))
		if got := c.Early(due, fire(b, due), interval); got != want {
			t.Errorf("%s after the last measurement it waits for %s, want %s", ago, got, want)
		}
	}
}

// Slow answers make polls wait, but not for long: a broker that answers slowly is overloaded.
func TestClockSlowAnswers(t *testing.T) {
	b := clocktest.NewFar(0)
	c := measured(t, b)
	for i := range b.Back {
		b.Back[i] = 3 * time.Second
	}
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	due := c.Due(b.Local.Add(wait))
	if got := c.Early(due, fire(b, due), interval); got <= 0 || got > maxDoubt {
		t.Errorf("it waits for %s, want up to %s", got, maxDoubt)
	}
}

// The number of remembered measurements is limited, whatever the clock does.
func TestClockMemory(t *testing.T) {
	b := clocktest.NewFar(0)
	c := measured(t, b)
	for range 1000 {
		b.Local, b.Offset = b.Local.Add(every), b.Offset+time.Second
		if err := c.Measure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.known.Load().leaders[0].marks); n > maxMarks+1 {
		t.Errorf("%d measurements are remembered, want %d at most", n, maxMarks+1)
	}
	for _, b.Leader = range []string{"a", "b", "c"} {
		b.Local = b.Local.Add(forgetAfter)
		if err := c.Measure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.known.Load().leaders); n != 2 {
		t.Errorf("%d leaders are remembered, want the last two", n)
	}
}

// fire lets a reservation fall due, unless it is due already.
func fire(b *clocktest.Far, due Due) time.Time {
	b.Local = b.Local.Add(max(0, due.At.Sub(b.Broker())))
	return b.Broker()
}
