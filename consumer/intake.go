package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// takeIn gives the handler of the intake: it validates a declared message, reserves its first poll one guidance from
// now, and lets it go. What is invalid becomes a dead letter.
func (w *Worker) takeIn(r *reservations) func(context.Context, *delivery) error {
	return func(ctx context.Context, d *delivery) error {
		originOf(d)
		declared, err := schema.DecodeFrom(d.msg.Subject, d.msg.Data)
		if bad := (*schema.MemberError)(nil); errors.As(err, &bad) {
			d.lane = &lane{}
			return w.refuse(ctx, d, bad)
		}
		d.identifier = declared.Identifier
		d.lane = &lane{typ: declared.Type, interval: w.cfg.Intervals.Of(declared.Type)}
		if d.origin.Traceparent == "" {
			d.origin.Traceparent = declared.Traceparent
		}
		wait, err := r.first(ctx, d, w)
		switch {
		case err != nil:
			return err
		case wait > 0:
			return d.nakAfter(wait)
		}
		return d.ack()
	}
}

// tombstoneGone is how long after it fell due a tombstone is taken to be gone: the broker is 0.3 s late at worst.
const tombstoneGone = 400 * time.Millisecond

// first makes the first reservation of a declared message, or finds that it needs none. When it returns 0 and no error, the
// message may be acknowledged. When it returns a time to wait, an earlier generation has just ended, and what is left of it is
// there until then.
func (r *reservations) first(ctx context.Context, d *delivery, w *Worker) (wait time.Duration, err error) {
	if err := r.sureOfTime(ctx); err != nil {
		return 0, err
	}
	declared := declaredOf(d)
	next := reservation{Reserved: lifecycle.Reserved{Position: lifecycle.Position{Generation: d.at.Generation, Number: 1}}}
	var snapshot lifecycle.Snapshot
	var refused lifecycle.TakeIn
	again := false
	for giveUp := r.cfg.Now().Add(refusedFor); ; {
		read := r.cfg.Now()
		around, err := r.stored.around(ctx, d, r.clock.Now().Sub(d.at.Generation))
		if err != nil {
			return 0, err
		}
		snapshot.Declared, snapshot.Outcomes = around.Declared, around.Outcomes
		verdict, until := snapshot.TakeIn(declared)
		switch verdict {
		case lifecycle.Wait:
			w.count.declaredAgain.Add(1)
			return max(0, r.clock.Local(until).Sub(r.cfg.Now())) + tombstoneGone, nil
		case lifecycle.Foreign:
			return 0, fmt.Errorf("taking in %s: a message that is no reservation is stored under %s", d.identifier, schema.HoldSubjects(d.identifier))
		case lifecycle.Reserve, lifecycle.ReserveBesideDue:
		default:
			w.declaredBefore(d, verdict)
			return 0, nil
		}
		if verdict == refused {
			if !r.cfg.Now().Before(giveUp) {
				return 0, fmt.Errorf("taking in %s: %w", d.identifier, errReserved)
			}
			select {
			case <-time.After(refusedEvery):
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		if clock.Passed(read, r.cfg.Now()) > readAgain && !again {
			again = true // this process stood still; where the broker is slow, reading once more helps no further
			continue
		}
		// What is due counts as well, unless it has no more effect: a reservation of an interaction whose poll has yet to be
		// made would be a second generation of it.
		among := schema.WaitingSubjects(d.identifier)
		if verdict == lifecycle.ReserveBesideDue {
			among = schema.HoldSubjects(d.identifier)
		}
		next.Due = r.due(d.lane.interval, d.lane.interval)
		err = r.put(ctx, d, &next, 0, among)
		if err == nil {
			w.count.takenIn.Add(1)
			w.laneOf(d.lane.typ).takenIn.Add(1)
			return 0, nil
		}
		if !errors.Is(err, broker.ErrRefused) {
			return 0, err
		}
		r.count.refused.Add(1)
		refused = verdict
		// A refusal alone proves nothing. What is read may be a reservation that is just falling due: believing it is safe,
		// because then its due message is stored.
		if snapshot.Reservation, err = r.stored.reservation(ctx, d.identifier); err != nil {
			return 0, err
		}
		if snapshot.Due, err = r.stored.due(ctx, d.identifier); err != nil {
			return 0, err
		}
	}
}

// beginsNothing tells whether a declared message that is delivered for the first time begins no generation.
func (w *Worker) beginsNothing(ctx context.Context, d *delivery) (bool, error) {
	snapshot, err := w.stored.around(ctx, d, w.clock.Now().Sub(d.at.Generation))
	if err != nil {
		return false, err
	}
	verdict, _ := snapshot.TakeIn(declaredOf(d))
	if verdict != lifecycle.Twice && verdict != lifecycle.Processed {
		return false, nil
	}
	w.declaredBefore(d, verdict)
	return true, nil
}

// declaredBefore counts a declared message that begins nothing.
func (w *Worker) declaredBefore(d *delivery, verdict lifecycle.TakeIn) {
	switch verdict {
	case lifecycle.Twice:
		w.count.declaredTwice.Add(1)
	case lifecycle.Processed:
		w.count.declaredProcessed.Add(1)
		w.log.WithFields(logrus.Fields{"interaction": d.identifier, "type": d.lane.typ}).Debug("declared after processed events")
	}
}
