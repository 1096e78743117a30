package redelivery

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

const chat = "bd5c92f3-c228-44a6-91bf-b52672569878"

// early is a broker with one chat, whose first poll is reserved, and one worker.
type early struct {
	*testing.T
	*fake.Broker
	r *Reservations
}

const chatInterval = 5 * time.Second

func newEarly(t *testing.T) *early {
	e := &early{T: t, Broker: fake.New(fake.Options{}, broker.StreamConfig{
		Name: ns.StreamPolls(), Subjects: []string{ns.SubjectsHold(), ns.SubjectsPoll()}, WorkQueue: true,
		Schedules: true,
		Consumers: []broker.ConsumerConfig{{
			Name: ns.PollConsumer(schema.Chat), Filter: ns.PollSubject(schema.Chat, "*"),
			AckWait: 10 * time.Second,
		}},
	})}
	t.Cleanup(e.Close)
	e.StepDownTo("n1", 0)
	e.start()
	d := e.delivery(broker.Delivery{})
	d.At.Generation = time.Now()
	next := newReservation(d.At.Generation, 1)
	next.at = time.Now().Add(chatInterval)
	e.check(e.r.put(t.Context(), d, &next, broker.Condition{}))
	return e
}

// start replaces the worker by one that has just started.
func (e *early) start() {
	c := clock.New(time.Now, e, ns.StreamPolls())
	e.check(c.Measure(e.Context()))
	e.r = NewReservations(Config{
		Broker: e, Clock: c, Now: time.Now, RequestTimeout: time.Second, Interval: func(schema.Type) time.Duration {
			return chatInterval
		},
	})
}

func (e *early) check(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

func (e *early) delivery(m broker.Delivery) *Delivery {
	d := Receive(e, ns, m, time.Now())
	d.Type, d.Identifier, d.Interval = schema.Chat, chat, chatInterval
	return &d
}

// begin pulls one delivery within a time, and begins it. The verdict is empty if there is none.
func (e *early) begin(within time.Duration) (v Verdict, d *Delivery) {
	e.Helper()
	err := e.Puller(ns.StreamPolls(), ns.PollConsumer(schema.Chat)).Pull(1, within, func(m broker.Delivery) {
		d = e.delivery(m)
	})
	e.check(err)
	if d == nil {
		return "", nil
	}
	v, err = e.r.Begin(e.Context(), d)
	e.check(err)
	return v, d
}

// poll begins deliveries until one may be polled.
func (e *early) poll() *Delivery {
	e.Helper()
	for {
		switch v, d := e.begin(2 * chatInterval); v {
		case Poll:
			return d
		case "":
			e.Fatal("nothing is due")
		}
	}
}

// next begins deliveries until one may be polled. A delivery that cannot be reserved yet is redelivered.
func (e *early) next(within time.Duration) *Delivery {
	e.Helper()
	for ends := time.Now().Add(within); time.Now().Before(ends); {
		var d *Delivery
		err := e.Puller(ns.StreamPolls(), ns.PollConsumer(schema.Chat)).Pull(1, time.Second, func(m broker.Delivery) {
			d = e.delivery(m)
		})
		e.check(err)
		if d == nil {
			continue
		}
		switch v, err := e.r.Begin(e.Context(), d); {
		case err != nil && !errors.Is(err, errRejectedTooLong):
			e.Fatal(err)
		case v == Poll:
			return d
		}
	}
	e.Errorf("nothing was polled within %s; stored are:", within)
	for _, m := range e.Stored(ns.StreamPolls()) {
		e.Logf("%d %s %v", m.Sequence, m.Subject, m.Header)
	}
	e.FailNow()
	return nil
}

// A poll that fell due too early by another server's clock waits until the clock by which it was reserved has reached
// its due time: in its slot, or as a reservation that keeps all that the first one had. A worker that does not know
// that clock waits longer.
func TestFallsDueTooEarly(t *testing.T) {
	for name, tt := range map[string]struct {
		ahead   time.Duration
		started bool // the worker starts after the leader has changed
		verdict Verdict
		wait    time.Duration // after the due time
	}{
		"a little":     {30 * time.Millisecond, false, Poll, 0},
		"much":         {300 * time.Millisecond, false, Early, 0},
		"unknown":      {300 * time.Millisecond, true, Early, clock.MaxApart - 300*time.Millisecond},
		"unknown, not": {0, true, Early, clock.MaxApart},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEarly(t)
				first := e.poll()
				due := first.next.at
				refusals := schema.Refusals{StatusCode: 404, Count: 2, Since: time.Now().UTC()}
				first.Saw(schema.StatusProcessing, time.Now())
				first.Refusals, first.Panics = refusals, 1
				e.check(e.r.Redeliver(t.Context(), first, time.Time{}))
				e.StepDownTo("n2", tt.ahead)
				if tt.started {
					e.start()
				}
				v, d := e.begin(2 * chatInterval)
				if v != tt.verdict {
					t.Fatalf("verdict %q at %s before the due time, want %q", v, time.Until(due), tt.verdict)
				}
				if v == Early {
					if d = e.poll(); !slices.Equal(d.History(), first.History()) || !d.Refusals.Equal(refusals) ||
						d.Panics != 1 {
						t.Errorf("history %v, refusals %v, %d panics; want those of the first reservation", d.History(),
							d.Refusals, d.Panics)
					}
				}
				if d.At.Number != 2 {
					t.Errorf("poll %d, want 2", d.At.Number)
				}
				if waited := time.Since(due); waited < tt.wait || waited > tt.wait+10*time.Millisecond {
					t.Errorf("it is polled %s after its due time, want %s", waited, tt.wait)
				}
			})
		})
	}
}

// A worker's ack was lost, and the message is delivered again when the next poll has fallen due too early, and waits
// for a worker. The redelivery makes no poll, and settles the message.
func TestStaleRedeliveryAfterAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarly(t)
		e.Inject(fake.Fault{Op: fake.Ack, Lost: fake.Request})
		stale := e.poll()
		e.StepDownTo("n2", 300*time.Millisecond)
		time.Sleep(time.Until(stale.next.at) - 200*time.Millisecond)
		if n := len(e.Stored(ns.StreamPolls())); n != 2 {
			t.Fatalf("%d messages, want the stale one and the next one", n)
		}
		if !e.Redeliver(ns.StreamPolls(), ns.PollConsumer(schema.Chat), stale.Message.Sequence) {
			t.Fatal("the stale message is not pending")
		}
		if v, d := e.begin(0); d == nil || d.At.Number != 1 || v != Drop {
			t.Errorf("verdict %q on %+v, want the redelivery to be dropped", v, d)
		}
		if d := e.poll(); d.At.Number != 2 || time.Now().Before(stale.next.at) {
			t.Errorf("poll %d, %s before its due time; want poll 2 afterwards", d.At.Number,
				time.Until(stale.next.at))
		}
	})
}

// A message that another worker has acknowledged meanwhile is dropped if nothing else is stored.
func TestStaleRedeliveryOfAnEndedInteraction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarly(t)
		d := e.poll()
		e.check(e.r.Finish(t.Context(), d))
		stale := e.delivery(d.Message)
		if v, _ := e.begin(2 * chatInterval); v != Drop || len(e.Stored(ns.StreamPolls())) > 0 {
			t.Fatalf("verdict %q on the tombstone, %d messages", v, len(e.Stored(ns.StreamPolls())))
		}
		if v, err := e.r.Begin(t.Context(), stale); v != Drop || err != nil {
			t.Errorf("verdict %q, %v on a message that is not stored; want %q", v, err, Drop)
		}
	})
}

// A tombstone does not fall due earlier than an interval after the poll, whatever clock the server has.
func TestTombstoneFallsDueLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarly(t)
		d := e.poll()
		polled := time.Now()
		e.check(e.r.Finish(t.Context(), d))
		e.StepDownTo("n2", 500*time.Millisecond)
		if v, d := e.begin(2 * chatInterval); v != Drop || !d.tombstone || time.Since(polled) < chatInterval {
			t.Errorf("verdict %q after %s", v, time.Since(polled))
		}
	})
}

// The next poll is postponed if the request ended late, with or without an answer.
func TestPostponed(t *testing.T) {
	const usually = allowanceMargin + minGuard // longer than the interval
	for name, tt := range map[string]struct {
		sent, ended time.Duration // after Begin
		wait        time.Duration // from Begin until the next poll
		stores      int
		unanswered  bool
	}{
		"as usual":           {0, 40 * time.Millisecond, chatInterval + usually, 1, false},
		"at the last moment": {allowanceMargin, allowanceMargin + minGuard, chatInterval + usually, 1, false},
		"a late answer": {
			0, usually + 60*time.Millisecond, chatInterval + usually + 60*time.Millisecond, 2, false,
		},
		"a very late answer": {0, 2 * time.Second, chatInterval + 2*time.Second, 2, false},
		"a lost connection":  {0, time.Millisecond, chatInterval + chatInterval/maxGuardDivisor, 2, true},
		"no answer":          {0, 2 * time.Second, chatInterval + 2*time.Second, 2, true},
		"no request":         {-1, 2 * time.Second, chatInterval + usually, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEarly(t)
				d := e.poll()
				began, first := time.Now(), d.next.Sequence
				_, release := e.r.Keep(t.Context(), d)
				time.Sleep(tt.ended)
				request := Request{Answered: !tt.unanswered}
				if tt.sent >= 0 {
					request.Sent = began.Add(tt.sent)
				}
				release(request)
				e.check(e.r.Redeliver(t.Context(), d, time.Time{}))
				stored := e.Stored(ns.StreamPolls())
				if n := int(stored[0].Sequence-first) + 1; len(stored) != 1 || n != tt.stores {
					t.Errorf("%d messages, the reservation was stored %d times, want %d", len(stored), n, tt.stores)
				}
				if e.poll(); time.Since(began) != tt.wait {
					t.Errorf("the next poll comes after %s, want %s", time.Since(began), tt.wait)
				}
			})
		})
	}
}

// A reservation that was stored too late to poll is replaced by a later one. One that falls due soon, or before the
// later one is stored, is not, nor is one that is not stored any more.
func TestRenew(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for name, tt := range map[string]struct {
		late     time.Duration
		writes   time.Duration // what writing a request has taken since
		stores   time.Duration // the time until the later one is stored
		taken    bool
		doubtful bool // the broker's clock, and it is not measured
		want     bool
	}{
		"late":                    {late: s, want: true},
		"very late":               {late: 4 * s},
		"it has gone":             {late: s, taken: true},
		"slow, as ever":           {late: 2 * s, stores: s, want: true},
		"it falls due meanwhile":  {late: 1500 * ms, writes: 6 * s, stores: 3900 * ms},
		"it falls due soon after": {late: s, writes: 6 * s, stores: 3 * s},
		"without the time":        {late: s, doubtful: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEarly(t)
				d := e.poll()
				time.Sleep(tt.late)
				if tt.taken {
					next := d.next
					next.at = time.Now().Add(chatInterval)
					e.check(e.r.put(t.Context(), d, &next, d.replacing()))
				}
				if tt.doubtful {
					e.r.cfg.Clock.Notice(time.Now().Add(time.Second))
					e.Inject(fake.Fault{Op: fake.Stream, Err: broker.ErrNoAnswer})
				}
				if tt.writes > 0 {
					e.r.writes.took(tt.writes)
					e.r.writes.took(tt.writes)
				}
				if tt.stores > 0 {
					e.Inject(fake.Fault{Op: fake.Publish, Commit: tt.stores})
				}
				renewed := time.Now()
				if got := e.r.Renew(t.Context(), d); got != tt.want || got != time.Now().Before(d.SendBy) {
					t.Fatalf("renewed: %v, want %v; it must be sent within %s", got, tt.want, time.Until(d.SendBy))
				}
				if !tt.want {
					return
				}
				if e.poll(); time.Since(renewed) < chatInterval {
					t.Errorf("the next poll comes after %s", time.Since(renewed))
				}
			})
		})
	}
	if (&Reservations{}).Renew(t.Context(), &Delivery{At: lifecycle.Position{}}) {
		t.Error("a delivery without a reservation is renewed")
	}
}
