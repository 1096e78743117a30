package redelivery

import (
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
)

// A reservation is replaced at the moment at which it falls due: it is accepted before, and stored after its due
// message. The next poll is that of the later one.
func TestReplacedBehindTheDueMessage(t *testing.T) {
	for name, end := range map[string]func(*early, *Delivery) error{
		"postponed": func(e *early, d *Delivery) error {
			d.arrived = time.Now()
			return e.r.Redeliver(e.Context(), d, time.Time{})
		},
		"postponed by a minute": func(e *early, d *Delivery) error {
			d.arrived = time.Now()
			return e.r.Redeliver(e.Context(), d, time.Now().Add(time.Minute))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEarly(t)
				d := e.next(time.Minute)
				time.Sleep(time.Until(d.next.at) - 50*time.Millisecond)
				e.Inject(fake.Fault{Op: fake.Publish, Commit: 200 * time.Millisecond})
				e.check(end(e, d))
				if n := len(e.Stored(ns.StreamPolls())); n != 2 {
					t.Fatalf("%d messages are stored, want the due message and the reservation", n)
				}
				e.next(10 * time.Minute)
				if after := time.Since(d.arrived); after < chatInterval {
					t.Errorf("polled again after %s, the interval is %s", after, chatInterval)
				}
				for range 20 { // the older due message is dropped, and the chain goes on
					before := time.Now()
					e.next(time.Minute)
					if after := time.Since(before); after < chatInterval {
						t.Errorf("polled again after %s, the interval is %s", after, chatInterval)
					}
				}
				if n := len(e.Stored(ns.StreamPolls())); n != 1 {
					t.Errorf("%d messages are stored, want one", n)
				}
			})
		})
	}
}

// A tombstone replaces a reservation at the moment at which the reservation falls due: it is stored after the due
// message, and the due message is dropped.
func TestTombstoneBehindTheDueMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEarly(t)
		d := e.next(time.Minute)
		time.Sleep(time.Until(d.next.at) - 50*time.Millisecond)
		e.Inject(fake.Fault{Op: fake.Publish, Commit: 200 * time.Millisecond})
		e.check(e.r.Finish(t.Context(), d))
		for range 20 {
			if v, _ := e.begin(time.Second); v == Poll {
				t.Fatal("polled after the tombstone")
			}
		}
		if n := len(e.Stored(ns.StreamPolls())); n != 0 {
			t.Errorf("%d messages are stored, want none", n)
		}
	})
}
