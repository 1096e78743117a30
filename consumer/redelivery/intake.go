package redelivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// tombstoneGone is the time from a tombstone's due time after which it is deleted: the broker is at most 0.3 s late.
const tombstoneGone = 400 * time.Millisecond

// polledWithin is the time from a poll's due time within which it has usually ended.
const polledWithin = time.Second

// TakeIn makes the first reservation for a declared message with a known identifier, or finds that it requires none,
// and settles the delivery. The verdict is [lifecycle.Reserve] if it made a reservation. It is [lifecycle.Wait] if an
// earlier generation has just ended: the message is redelivered when that generation's tombstone is deleted. It is
// [lifecycle.Undecided] if another generation is polled: the message is redelivered after a poll, and less often as it
// gets older.
func (r *Reservations) TakeIn(ctx context.Context, d *Delivery) (lifecycle.TakeIn, error) {
	verdict, wait, err := r.takeIn(ctx, d)
	switch {
	case err != nil:
		return "", fmt.Errorf("taking in %s: %w", d.Identifier, err)
	case wait > 0:
		return verdict, d.NakAfter(wait)
	}
	return verdict, d.Ack()
}

func (r *Reservations) takeIn(ctx context.Context, d *Delivery) (_ lifecycle.TakeIn, wait time.Duration, err error) {
	if err := r.sureOfTime(ctx); err != nil {
		return "", 0, err
	}
	snapshot, err := r.readIfRedelivered(ctx, d)
	if err != nil {
		return "", 0, err
	}
	rejected, again := false, false
	for giveUp := r.cfg.Now().Add(rejectedFor); ; {
		read := r.cfg.Now()
		around, err := r.stored.around(ctx, d)
		if err != nil {
			return "", 0, err
		}
		snapshot.Declared, snapshot.Outcomes = around.Declared, around.Outcomes
		verdict, until := snapshot.TakeIn(d.declared())
		switch verdict {
		case lifecycle.Reserve:
		case lifecycle.Wait, lifecycle.Undecided:
			return verdict, r.waitFor(verdict, until, d), nil
		case lifecycle.Foreign:
			return "", 0, fmt.Errorf("message %d of stream %s, on %s, is not a reservation, and blocks the "+
				"interaction: delete it", snapshot.Reservation.Sequence, r.cfg.Namespace.StreamPolls(),
				r.cfg.Namespace.HoldSubjects(d.Identifier))
		default:
			return verdict, 0, nil
		}
		if rejected {
			if err := r.waitToRetry(ctx, giveUp); err != nil {
				return "", 0, err
			}
		}
		if clock.Passed(read, r.cfg.Now()) > readAgain && !again {
			again = true // this process stalled; if the broker is slow instead, reading once more does not help
			continue
		}
		if err = r.reserveFirst(ctx, d, snapshot.Ignored); err == nil {
			return lifecycle.Reserve, 0, nil
		}
		if !errors.Is(err, broker.ErrRejected) {
			return "", 0, err
		}
		r.rejected.Add(1)
		rejected = true
		// The reservation that is read may be falling due at this moment. Then its due message is stored, so it is safe
		// to act on this reservation.
		if err := r.stored.polls(ctx, d.Identifier, &snapshot); err != nil {
			return "", 0, err
		}
	}
}

// readIfRedelivered reads the reservation and the due message of the interaction if its declared message was delivered
// before: the message may wait for the outcome of another generation. Otherwise the snapshot is empty.
func (r *Reservations) readIfRedelivered(ctx context.Context, d *Delivery) (snapshot lifecycle.Snapshot, err error) {
	if d.Origin.Deliveries > 1 {
		err = r.stored.polls(ctx, d.Identifier, &snapshot)
	}
	return snapshot, err
}

// Messages that wait for an outcome are redelivered less often as they get older: after their age divided by
// undecidedDivisor, but at most after maxUndecided. The broker prefers redeliveries, so thousands of them after each
// poll would delay the messages of all other interactions.
const (
	undecidedDivisor = 4
	maxUndecided     = 5 * time.Minute
)

// waitFor returns how long to keep a declared message before it is redelivered: with Wait, until the tombstone is
// deleted; with Undecided, at least until the next poll has usually ended.
func (r *Reservations) waitFor(verdict lifecycle.TakeIn, until time.Time, d *Delivery) time.Duration {
	wait := max(0, r.cfg.Clock.Local(until).Sub(r.cfg.Now()))
	switch {
	case verdict == lifecycle.Wait:
		return wait + tombstoneGone
	case wait == 0: // the poll is due, and may wait for a worker
		wait = d.Interval
	default:
		wait += polledWithin
	}
	age := r.cfg.Clock.Now().Sub(d.At.Generation)
	return max(wait, min(age/undecidedDivisor, maxUndecided))
}

// reserveFirst stores the first reservation of a generation, on the condition that nothing is stored for the
// interaction. A due message counts as well: a reservation beside a poll that is due would be a second generation, and
// that poll's worker could replace it, because the conditions of both have different filters. A message that no worker
// receives does not count.
func (r *Reservations) reserveFirst(ctx context.Context, d *Delivery, ignored uint64) error {
	next := newReservation(d.At.Generation, 1)
	next.at = r.cfg.Now().Add(d.Interval + r.cfg.spread(d.Interval))
	return r.put(ctx, d, &next, broker.Condition{
		Subjects: r.cfg.Namespace.WaitingSubjects(d.Identifier), Last: ignored,
	})
}

// Judge returns the verdict on a declared message, by all that is stored for its interaction.
func (r *Reservations) Judge(ctx context.Context, d *Delivery) (lifecycle.TakeIn, error) {
	snapshot, err := r.stored.around(ctx, d)
	if err != nil {
		return "", err
	}
	if err := r.stored.polls(ctx, d.Identifier, &snapshot); err != nil {
		return "", err
	}
	verdict, _ := snapshot.TakeIn(d.declared())
	return verdict, nil
}
