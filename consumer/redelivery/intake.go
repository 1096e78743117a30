package redelivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// tombstoneGone is how long after it fell due a tombstone is taken to be gone: the broker is 0.3 s late at worst.
const tombstoneGone = 400 * time.Millisecond

// TakeIn makes the first reservation of a declared message, whose identifier is known, or finds that it needs none, and
// settles the delivery. The verdict says which: [lifecycle.Reserve] where a reservation was made. With [lifecycle.Wait]
// an earlier generation has just ended, and the message comes back when what is left of that is gone.
func (r *Reservations) TakeIn(ctx context.Context, d *Delivery) (lifecycle.TakeIn, error) {
	verdict, wait, err := r.takeIn(ctx, d)
	switch {
	case err != nil:
		return "", err
	case wait > 0:
		return verdict, d.NakAfter(wait)
	}
	return verdict, d.Ack()
}

func (r *Reservations) takeIn(ctx context.Context, d *Delivery) (_ lifecycle.TakeIn, wait time.Duration, err error) {
	if err := r.sureOfTime(ctx); err != nil {
		return "", 0, err
	}
	declared := d.declared()
	next := newReservation(d.At.Generation, 1)
	var snapshot lifecycle.Snapshot
	var refused lifecycle.TakeIn
	again := false
	for giveUp := r.cfg.Now().Add(refusedFor); ; {
		read := r.cfg.Now()
		around, err := r.stored.around(ctx, d)
		if err != nil {
			return "", 0, err
		}
		snapshot.Declared, snapshot.Outcomes = around.Declared, around.Outcomes
		verdict, until := snapshot.TakeIn(declared)
		switch verdict {
		case lifecycle.Wait:
			return verdict, max(0, r.cfg.Clock.Local(until).Sub(r.cfg.Now())) + tombstoneGone, nil
		case lifecycle.Foreign:
			return "", 0, fmt.Errorf("taking in %s: a message that is no reservation is stored under %s", d.Identifier,
				schema.HoldSubjects(d.Identifier))
		case lifecycle.Reserve, lifecycle.ReserveBesideDue:
		default:
			return verdict, 0, nil
		}
		if verdict == refused {
			if !r.cfg.Now().Before(giveUp) {
				return "", 0, fmt.Errorf("taking in %s: %w", d.Identifier, errReserved)
			}
			select {
			case <-time.After(refusedEvery):
			case <-ctx.Done():
				return "", 0, ctx.Err()
			}
		}
		if clock.Passed(read, r.cfg.Now()) > readAgain && !again {
			again = true // this process stood still; where the broker is slow, reading once more helps no further
			continue
		}
		// What is due counts as well, unless it has no more effect: a reservation of an interaction whose poll has yet
		// to be made would be a second generation of it.
		among := schema.WaitingSubjects(d.Identifier)
		if verdict == lifecycle.ReserveBesideDue {
			among = schema.HoldSubjects(d.Identifier)
		}
		next.Due = r.due(d.Interval, d.Interval)
		err = r.put(ctx, d, &next, 0, among)
		if err == nil {
			return lifecycle.Reserve, 0, nil
		}
		if !errors.Is(err, broker.ErrRefused) {
			return "", 0, err
		}
		r.refused.Add(1)
		refused = verdict
		// A refusal alone proves nothing. What is read may be a reservation that is just falling due: believing it is
		// safe, because then its due message is stored.
		if snapshot.Reservation, err = r.stored.reservation(ctx, d.Identifier); err != nil {
			return "", 0, err
		}
		if snapshot.Due, err = r.stored.due(ctx, d.Identifier); err != nil {
			return "", 0, err
		}
	}
}

// Judge says what becomes of a declared message, by all that is stored of its interaction.
func (r *Reservations) Judge(ctx context.Context, d *Delivery) (lifecycle.TakeIn, error) {
	snapshot, err := r.stored.around(ctx, d)
	if err != nil {
		return "", err
	}
	if snapshot.Reservation, err = r.stored.reservation(ctx, d.Identifier); err != nil {
		return "", err
	}
	if snapshot.Due, err = r.stored.due(ctx, d.Identifier); err != nil {
		return "", err
	}
	verdict, _ := snapshot.TakeIn(d.declared())
	return verdict, nil
}
