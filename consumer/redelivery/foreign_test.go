package redelivery

import (
	"testing"
	"testing/synctest"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// foreign publishes a due message of another client.
func (e *early) foreign(typ schema.Type) {
	e.Helper()
	time.Sleep(time.Millisecond) // it is younger than the interaction
	_, err := e.Publish(e.Context(), broker.Publication{
		Subject: ns.PollSubject(typ, chat), Data: []byte(`{"interactionIdentifier":"` + chat + `","type":"chat"}`),
	})
	e.check(err)
}

// eachForeign runs a test with each type of a due message of another client. No consumer delivers one of an unknown
// type.
func eachForeign(t *testing.T, do func(t *testing.T, e *early, typ schema.Type)) {
	for name, typ := range map[string]schema.Type{"same type": schema.Chat, "unknown type": "bogus"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { do(t, newEarly(t), typ) })
		})
	}
}

// Another client publishes a due message while a poll is due. The interaction is polled on.
func TestForeignWhileAPollIsDue(t *testing.T) {
	eachForeign(t, func(_ *testing.T, e *early, typ schema.Type) {
		time.Sleep(chatInterval + time.Second)
		e.foreign(typ)
		e.next(10 * time.Minute)
	})
}

// Another client publishes a due message while a poll is in flight. The answer to the poll is slow, so the next one is
// postponed.
func TestForeignWhileAPollIsPostponed(t *testing.T) {
	eachForeign(t, func(t *testing.T, e *early, typ schema.Type) {
		d := e.next(time.Minute)
		e.foreign(typ)
		time.Sleep(time.Second)
		d.arrived = time.Now()
		e.check(e.r.Redeliver(t.Context(), d, time.Time{}))
		e.next(10 * time.Minute)
		if after := time.Since(d.arrived); after < chatInterval {
			t.Errorf("polled again after %s, the interval is %s", after, chatInterval)
		}
	})
}

// Another client publishes a due message beside an overdue reservation. That is stored again all the same.
func TestForeignBesideAnOverdueReservation(t *testing.T) {
	eachForeign(t, func(t *testing.T, e *early, typ schema.Type) {
		e.SetFull(true)
		time.Sleep(chatInterval + time.Second)
		e.SetFull(false)
		e.foreign(typ)
		if stored, err := e.r.StoreAgain(t.Context()); stored != 1 || err != nil {
			t.Errorf("%d were stored again (%v), want one", stored, err)
		}
		e.next(10 * time.Minute)
	})
}

// A tombstone is stored although another client has published a due message since.
func TestForeignBeforeATombstone(t *testing.T) {
	eachForeign(t, func(t *testing.T, e *early, typ schema.Type) {
		d := e.next(time.Minute)
		e.foreign(typ)
		e.check(e.r.Finish(t.Context(), d))
		r, err := e.r.stored.reservation(t.Context(), chat)
		if err != nil || r == nil || !r.Tombstone {
			t.Errorf("the reservation is %+v (%v), want a tombstone", r, err)
		}
	})
}
