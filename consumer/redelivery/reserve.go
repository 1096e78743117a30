package redelivery

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

const (
	// rejectedFor is how long a rejected reservation is retried, and rejectedEvery how often.
	rejectedFor   = time.Second
	rejectedEvery = 20 * time.Millisecond
	// manyPending is the number of messages that the consumer has not delivered yet (Delivery.Pending) from which
	// nothing is read for the first delivery of a late message.
	manyPending = 1000
	// ackTimeout is how long a request waits for the broker's answer: much less than AckWait.
	ackTimeout = 4 * time.Second
	// MaxReserve is how long a reservation may take, with a short wait and retries: AckWait must be longer.
	MaxReserve = shortWait + rejectedFor + ackTimeout
)

// Reservations is redelivery by reservations, which are schedules on the broker: the default mode.
type Reservations struct {
	cfg      Config
	stored   stored
	declared string // the stream of declared messages
	// writes are the times from the beginning of a reservation until the request is written, answers those from then on
	// until it is answered.
	writes, answers nearMax
	rejected        atomic.Uint64
}

// NewReservations makes redelivery by reservations.
func NewReservations(cfg Config) *Reservations {
	return &Reservations{cfg: cfg, stored: stored{cfg}, declared: cfg.Namespace.StreamDeclared()}
}

// Rejected is the number of rejected reservations, including those that were stored at a retry.
func (r *Reservations) Rejected() uint64 { return r.rejected.Load() }

// reservation is a reservation of the next poll.
type reservation struct {
	lifecycle.Reserved
	// at is when it falls due, by this process's clock. Due is set when it is stored.
	at time.Time
	// again means that a poll that fell due too early is reserved once more: it keeps its intended due time.
	again bool
	// refusals are those of the polls before it.
	refusals schema.Refusals
}

// newReservation makes the reservation of a poll.
func newReservation(generation time.Time, number uint64) reservation {
	return reservation{Reserved: lifecycle.Reserved{
		Position: lifecycle.Position{Generation: generation, Number: number},
	}}
}

// errRejectedTooLong means that a reservation was rejected until the last retry, although no later one is stored.
var errRejectedTooLong = errors.New("the broker rejected every attempt for " + schema.Duration(rejectedFor) +
	", although no later reservation is stored; the message is not acknowledged, and will be redelivered")

// errGone means that a read finds nothing of an interaction, not even the due message that was delivered: another
// worker has acknowledged that message, or the read is old. The absence is no reason to acknowledge the message.
var errGone = errors.New("no message of the interaction is stored")

// plan plans a reservation of the next poll that is made now: its due time, and SendBy and Until of this delivery.
//
// SendBy is when the request is likely to be written, plus allowanceMargin. The request is likely to take as long as
// recent ones (writes), or as the previous attempt of this delivery (last), if that took longer. So a slow broker or a
// slow connection makes polls rarer, but not impossible. The reservation falls due one interval and the guard after
// SendBy. If the wait is longer than the interval, SendBy and the due time are later by the difference.
func (r *Reservations) plan(d *Delivery, next *reservation, last time.Duration) {
	guard, wait := r.guard(d.Interval), r.wait(d)
	d.nextBegun = r.cfg.Now()
	next.at = d.nextBegun.Add(max(r.writes.get(), last) + allowanceMargin + guard + wait)
	d.SendBy = next.at.Add(-d.Interval - guard)
	d.Until = next.at.Add(d.Interval - wait)
}

// wait is the minimum time until the next poll of a delivery's interaction.
func (r *Reservations) wait(d *Delivery) time.Duration {
	return Wait(d.Interval, r.cfg.Clock.Now().Sub(d.At.Generation), r.cfg.Stretch, r.cfg.StretchLimit)
}

// Begin reads the interaction from the message, and reserves its next poll. With [Poll], only this worker may make this
// poll; with any other verdict the delivery is settled.
//
// The error is a [*schema.MemberError] if the message is invalid: then the caller publishes a dead letter and calls
// Finish. After any other error the caller does nothing: the message is redelivered, or the next poll is reserved.
func (r *Reservations) Begin(ctx context.Context, d *Delivery) (Verdict, error) {
	if err := r.read(d); err != nil {
		return "", err
	}
	if d.tombstone {
		return Drop, d.Ack()
	}
	if err := r.sureOfTime(ctx); err != nil {
		return "", err // the message is redelivered after AckWait
	}
	if wait := r.cfg.Clock.Early(d.wanted, d.Due, d.Interval); wait > shortWait {
		return Early, r.reserveAgain(ctx, d, wait)
	} else if err := pause(ctx, wait); err != nil {
		return "", err
	}
	// It has no refusals: if the worker cannot store the result of this poll, their count begins again.
	next := newReservation(d.At.Generation, d.At.Number+1)
	takenOver, err := r.reserveNext(ctx, d, &next)
	if errors.Is(err, errGone) {
		return Drop, d.NakAfter(d.Interval) // no effect if the message is gone; if not, the read was old
	}
	if err != nil {
		return "", err
	}
	if err := d.Ack(); err != nil {
		return "", err // the reservation is stored: the redelivered message will be dropped
	}
	if takenOver {
		return Drop, nil
	}
	d.hold(next)
	return Poll, nil
}

// reserveAgain lets a poll that fell due too early fall due again: a reservation of the same poll replaces the due
// message. (Many delayed naks would keep the broker from redelivering.)
func (r *Reservations) reserveAgain(ctx context.Context, d *Delivery, wait time.Duration) error {
	again := newReservation(d.At.Generation, d.At.Number)
	again.again, again.refusals = true, d.Refusals
	// The server that published the message may be ahead of the known clock, and publish the next one, too.
	ahead := max(0, d.Due.Sub(r.cfg.Clock.Now()))
	again.at = r.cfg.Now().Add(wait + ahead)
	if r.put(ctx, d, &again, d.vacant()) != nil {
		return d.NakAfter(wait)
	}
	return d.Ack()
}

// sureOfTime measures the broker's clock if it is doubtful, before a reservation depends on it.
func (r *Reservations) sureOfTime(ctx context.Context) error {
	if !r.cfg.Clock.Doubtful() {
		return nil
	}
	measure, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	return r.cfg.Clock.Sure(measure)
}

// reserveNext stores the reservation of the next poll. If takenOver is true, it has stored nothing: another worker has
// reserved the next poll, or the generation has ended. The error is errRejectedTooLong, errGone, that of ctx, or the
// broker's.
func (r *Reservations) reserveNext(ctx context.Context, d *Delivery, next *reservation) (takenOver bool, err error) {
	if takenOver, err := r.takenOver(ctx, d); err != nil || takenOver {
		return takenOver, err
	}
	for giveUp := r.cfg.Now().Add(rejectedFor); ; {
		r.plan(d, next, 0)
		err := r.put(ctx, d, next, d.vacant())
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, broker.ErrRejected) {
			return false, err
		}
		r.rejected.Add(1)
		pending, err := r.stored.reservation(ctx, d.Identifier)
		if err != nil {
			return false, err
		}
		if (lifecycle.Snapshot{Reservation: pending}).Taken(d.At) {
			return true, nil
		}
		if err := r.waitToRetry(ctx, giveUp); err != nil {
			return false, fmt.Errorf("reserving the next poll of %s: %w", d.Identifier, err)
		}
	}
}

// takenOver reports whether an old message leads to no poll: another worker has reserved the next poll, or the
// generation has ended. The next poll may have fallen due since, even too early by another server's clock. Then its
// reservation is no longer stored, and the broker would not reject a second one. This happens only if the message was
// delivered before. (The delivery count does not show that if the broker has lost the state of its consumer.) While
// many messages are not delivered, nothing is read for a first delivery, because that would slow them all down. The
// error is errGone, or the broker's.
func (r *Reservations) takenOver(ctx context.Context, d *Delivery) (bool, error) {
	old := d.Interval / 2
	backlog := d.Message.Pending >= manyPending && d.Message.Count <= 1 && clock.Passed(d.Asked, r.cfg.Now()) <= old
	if backlog || r.cfg.Clock.Now().Sub(d.Due) <= old {
		return false, nil
	}
	var snapshot lifecycle.Snapshot
	if err := r.stored.polls(ctx, d.Identifier, &snapshot); err != nil {
		return false, err
	}
	if snapshot.Reservation == nil && snapshot.Due == nil {
		return false, errGone
	}
	return snapshot.Taken(d.At), nil
}

// waitToRetry waits before a rejected reservation is retried. The error is errRejectedTooLong after giveUp, or that of
// ctx.
func (r *Reservations) waitToRetry(ctx context.Context, giveUp time.Time) error {
	if !r.cfg.Now().Before(giveUp) {
		return errRejectedTooLong
	}
	return pause(ctx, rejectedEvery)
}

// pause waits. The error is that of ctx.
func pause(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
