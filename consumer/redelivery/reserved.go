package redelivery

import (
	"context"
	"errors"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// keepMargin is how much longer than a request may take the reservation is kept from falling due, where the request is
// still out when two thirds of the time before it are over.
const keepMargin = time.Second

// Keep keeps the reservation from falling due while the request is out: there is never more than one of an interaction.
// A request that may outlast it has it replaced by a later one, a third of the time before it falls due; where the
// broker does not store that in time, the request is given up. The function that is returned ends this, and is called
// before anything else is done with the delivery.
func (r *Reservations) Keep(ctx context.Context, d *Delivery) (request context.Context, let func()) {
	left := r.cfg.Clock.Local(d.reserved.Due).Sub(r.cfg.Now())
	if left > r.cfg.RequestTimeout+keepMargin {
		return ctx, func() {}
	}
	request, giveUp := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(left*2/3, func() {
		defer close(ended)
		next := d.reserved
		next.Due = r.cfg.Clock.Now().Add(r.cfg.RequestTimeout + keepMargin)
		bounded, cancel := context.WithTimeout(request, left/4) // before it falls due
		defer cancel()
		if r.put(bounded, d, &next, d.reserved.Sequence, schema.HoldSubjects(d.Identifier)) != nil {
			giveUp()
			return
		}
		d.reserved = next
	})
	return request, func() {
		if !timer.Stop() {
			<-ended
		}
		giveUp()
	}
}

// Redeliver leaves the reservation as it is, unless it must be later, or says something that is not true any more: then
// it is replaced, on the condition that it is still there. One that has fallen due meanwhile stays due. A reservation
// that Keep has made later is made as soon again as it was, or as the broker can.
func (r *Reservations) Redeliver(ctx context.Context, d *Delivery, notBefore time.Time) error {
	if d.reserved.Sequence == 0 {
		return nil // Begin failed: AckWait brings the message back
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
	h := d.Message.Header // what Begin has written again
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

// Finish replaces the reservation by a tombstone, which falls due one guidance later: until then, no stale copy of the
// last due message can make another poll. A reservation that has fallen due meanwhile leads to one more poll, and its
// outcome is found to be stored; the poll after that is replaced instead.
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
	// It fell due while the vendor took its time. Somebody may hold the poll after it already: it is not wanted either.
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
