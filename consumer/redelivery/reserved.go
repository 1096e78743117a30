package redelivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// keepMargin is how much longer than the request timeout a reservation is postponed, if the request is still in flight
// when two thirds of the time until the reservation have passed.
const keepMargin = time.Second

// Renew replaces a reservation whose request was not written in time by a later one, so that it can be written now. It
// returns whether it can.
func (r *Reservations) Renew(ctx context.Context, d *Delivery) bool {
	if !d.Reserved() {
		return false
	}
	now := r.cfg.Now()
	took := now.Sub(d.nextBegun)
	r.writes.took(took)
	left := d.next.at.Sub(now)
	if left < d.Interval/2 {
		return false
	}
	if r.sureOfTime(ctx) != nil { // this process may have stood still
		return false
	}
	// NATS deletes with a reservation that falls due whatever has replaced it a moment before. So the later one must be
	// stored well before that.
	bounded, cancel := context.WithTimeout(ctx, left/2)
	defer cancel()
	next, sendBy := d.next, d.SendBy
	r.plan(d, &next, took)
	if r.put(bounded, d, &next, d.replacing()) != nil {
		d.SendBy = sendBy
		return false
	}
	d.hold(next)
	ack := r.cfg.Now()
	return ack.Before(d.SendBy) && ack.Sub(now) < left/2
}

// Keep keeps the reservation from falling due while the request is in flight, so that there is never a second request
// for the interaction. If the request may outlast the reservation, Keep replaces it by a later one when two thirds of
// the time have passed. If the broker does not store that in time, Keep cancels the request. The caller calls release
// before it does anything else with the delivery.
func (r *Reservations) Keep(ctx context.Context, d *Delivery) (request context.Context, release func(Request)) {
	// The broker's clock may have been set forward since.
	left := min(d.next.at.Sub(r.cfg.Now()), r.cfg.Clock.Local(d.next.Due).Sub(r.cfg.Now()))
	if left > r.cfg.RequestTimeout+keepMargin {
		return ctx, func(q Request) { r.ended(d, q) }
	}
	request, cancelRequest := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(left*2/3, func() {
		defer close(ended)
		next := d.next
		next.at = r.cfg.Now().Add(r.cfg.RequestTimeout + keepMargin)
		bounded, cancel := context.WithTimeout(request, left/4) // before it falls due
		defer cancel()
		if r.put(bounded, d, &next, d.replacing()) != nil {
			cancelRequest()
			return
		}
		d.next = next
	})
	return request, func(q Request) {
		if !timer.Stop() {
			<-ended
		}
		cancelRequest()
		r.ended(d, q)
	}
}

// Request is a request that has ended.
type Request struct {
	// Sent is when it was written; zero if it was not.
	Sent time.Time
	// Answered means that the vendor has answered it.
	Answered bool
}

// ended records how long a request took.
func (r *Reservations) ended(d *Delivery, q Request) {
	if q.Sent.IsZero() {
		return
	}
	r.writes.took(q.Sent.Sub(d.nextBegun))
	d.arrived = r.cfg.Now()
	if q.Answered {
		r.answers.took(d.arrived.Sub(q.Sent))
	} else { // it may still be on its way
		d.arrived = later(d.arrived, q.Sent.Add(longestGuard(d.Interval)))
	}
}

// Redeliver keeps the reservation, unless its due time or its headers change: then it replaces it, on the condition
// that it is still stored. One that has fallen due meanwhile stays due. The new due time is the latest of: the original
// one (or now, if that has passed); one interval after the vendor has received the request; notBefore.
func (r *Reservations) Redeliver(ctx context.Context, d *Delivery, notBefore time.Time) error {
	if !d.Reserved() {
		return nil // Begin failed: the message is redelivered after AckWait
	}
	next := d.next
	next.refusals = d.Refusals
	if next.at.After(d.nextDue) {
		next.at = later(d.nextDue, r.cfg.Now().Add(soon))
	}
	if !d.arrived.IsZero() {
		next.at = later(next.at, d.arrived.Add(d.Interval))
	}
	next.at = later(next.at, notBefore)
	h := d.Message.Header // as Begin has stored it again
	same := slices.Equal(d.history, h[schema.HeaderHistory]) && d.Panics == panicsIn(h) &&
		next.refusals.Equal(d.next.refusals)
	if same && next.at.Equal(d.next.at) {
		return nil
	}
	err := r.put(ctx, d, &next, d.replacing())
	if errors.Is(err, broker.ErrRejected) {
		return nil
	}
	return err
}

// Finish replaces the reservation by a tombstone, which falls due one interval and [clock.Apart] later. Until then, no
// stale copy of the last due message can lead to another poll. If the reservation has fallen due meanwhile, one more
// poll is made, which finds the outcome stored; the reservation after that is replaced instead.
func (r *Reservations) Finish(ctx context.Context, d *Delivery) error {
	if !d.Reserved() {
		bounded, cancel := context.WithTimeout(ctx, ackTimeout)
		defer cancel()
		return d.AckConfirmed(bounded) // an invalid message: it never had a reservation
	}
	tomb := reservation{Reserved: d.next.Reserved}
	// No worker waits if a tombstone falls due too early by another server's clock.
	tomb.Tombstone, tomb.at = true, r.cfg.Now().Add(d.Interval+clock.Apart(d.Interval))
	err := r.put(ctx, d, &tomb, d.replacing())
	if !errors.Is(err, broker.ErrRejected) {
		return err
	}
	// It fell due during a slow request. The poll after it may be reserved already: that is replaced too.
	pending, err := r.stored.reservation(ctx, d.Identifier)
	if err != nil || pending == nil || !pending.EndedBy(d.At.Generation) {
		return err
	}
	tomb.Position = pending.Position
	if err := r.put(ctx, d, &tomb, d.reservedAt(pending.Sequence)); !errors.Is(err, broker.ErrRejected) {
		return err
	}
	return nil
}
