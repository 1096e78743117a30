package redelivery

import (
	"context"
	"errors"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// keepMargin is how much longer than the request timeout a reservation is postponed, if the request is still in flight
// when two thirds of the time until the reservation have passed.
const keepMargin = time.Second

// Keep keeps the reservation from falling due while the request is in flight, so that there is never a second request
// for the interaction. If the request may outlast the reservation, Keep replaces it by a later one when two thirds of
// the time have passed. If the broker does not store that in time, Keep cancels the request. The caller calls release
// before it does anything else with the delivery.
func (r *Reservations) Keep(ctx context.Context, d *Delivery) (request context.Context, release func()) {
	left := r.cfg.Clock.Local(d.reserved.Due).Sub(r.cfg.Now())
	if left > r.cfg.RequestTimeout+keepMargin {
		return ctx, func() {}
	}
	request, cancelRequest := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(left*2/3, func() {
		defer close(ended)
		next := d.reserved
		next.Due = r.cfg.Clock.Now().Add(r.cfg.RequestTimeout + keepMargin)
		bounded, cancel := context.WithTimeout(request, left/4) // before it falls due
		defer cancel()
		if r.put(bounded, d, &next, d.reserved.Sequence, schema.HoldSubjects(d.Identifier)) != nil {
			cancelRequest()
			return
		}
		d.reserved = next
	})
	return request, func() {
		if !timer.Stop() {
			<-ended
		}
		cancelRequest()
	}
}

// Redeliver keeps the reservation, unless it must fall due later, or its headers have changed: then it is replaced, on
// the condition that it is still stored. One that has fallen due meanwhile stays due. A reservation that Keep has
// postponed is moved back to its first due time, or to the earliest possible one.
func (r *Reservations) Redeliver(ctx context.Context, d *Delivery, notBefore time.Time) error {
	if d.reserved.Sequence == 0 {
		return nil // Begin failed: the message is redelivered after AckWait
	}
	next := d.reserved
	next.refusals = d.Refusals
	if next.Due.After(d.firstDue) {
		next.Due = later(d.firstDue, r.cfg.Clock.Now().Add(minSlack))
	}
	if !notBefore.IsZero() {
		if at := r.cfg.Clock.At(notBefore); at.After(next.Due) {
			next.Due = at
		}
	}
	h := d.Message.Header // as Begin has stored it again
	same := string(d.Status) == h.Get(schema.HeaderStatus) && d.Panics == panicsIn(h) &&
		next.refusals.Equal(d.reserved.refusals)
	if same && next.Due.Equal(d.reserved.Due) {
		return nil
	}
	err := r.put(ctx, d, &next, d.reserved.Sequence, schema.HoldSubjects(d.Identifier))
	if errors.Is(err, broker.ErrRefused) {
		return nil
	}
	return err
}

// Finish replaces the reservation by a tombstone, which falls due one interval later. Until then, no stale copy of the
// last due message can lead to another poll. If the reservation has fallen due meanwhile, one more poll is made, which
// finds the outcome stored; the reservation after that is replaced instead.
func (r *Reservations) Finish(ctx context.Context, d *Delivery) error {
	if d.reserved.Sequence == 0 {
		bounded, cancel := context.WithTimeout(ctx, ackTimeout)
		defer cancel()
		return d.AckConfirmed(bounded) // an invalid message: it never had a reservation
	}
	tomb := reservation{Reserved: d.reserved.Reserved}
	tomb.Tombstone, tomb.Due = true, r.due(d.Interval, d.Interval)
	hold := schema.HoldSubjects(d.Identifier)
	err := r.put(ctx, d, &tomb, d.reserved.Sequence, hold)
	if !errors.Is(err, broker.ErrRefused) {
		return err
	}
	// It fell due during a slow request. The poll after it may be reserved already: that is replaced too.
	pending, err := r.stored.reservation(ctx, d.Identifier)
	if err != nil || pending == nil || !pending.EndedBy(d.At.Generation) {
		return err
	}
	tomb.Position = pending.Position
	if err := r.put(ctx, d, &tomb, pending.Sequence, hold); !errors.Is(err, broker.ErrRefused) {
		return err
	}
	return nil
}
