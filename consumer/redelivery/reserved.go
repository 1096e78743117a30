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

// Renew replaces the reservation by a later one if the request was not written by SendBy, and moves SendBy. It returns
// whether the request may be written now. It returns false if there is no reservation, if the reservation falls due too
// soon to be replaced, or if the broker does not store the later one in time: then this poll is skipped.
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
	if r.sureOfTime(ctx) != nil { // this process may have stalled
		return false
	}
	// When a reservation falls due, NATS deletes all messages on its subject, also one that has replaced it a moment
	// before. So the later reservation must be stored well before that.
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
// for the interaction. It returns the context of the request. If the request may outlast the reservation, Keep replaces
// the reservation by a later one when two thirds of the time until it falls due have passed. If the broker does not
// store the later one in time, Keep cancels the context. The caller calls release when the request has ended, before it
// does anything else with the delivery.
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

// Redeliver ends a delivery after which the interaction waits for its next poll. It keeps the stored reservation,
// unless the due time or the headers change. Then it replaces the reservation, on the condition that it is still
// stored; if it has fallen due meanwhile, that is no error, and its poll stays due. The new due time is the latest of:
//
//   - the due time before Keep postponed it, or a moment from now if that has passed
//   - one interval after the latest time at which the vendor can have received the request
//   - notBefore
//
// Without a reservation it does nothing: the message is redelivered after AckWait. The error is the broker's; the
// reservation that is stored then stays in effect.
func (r *Reservations) Redeliver(ctx context.Context, d *Delivery, notBefore time.Time) error {
	if !d.Reserved() {
		return nil
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
