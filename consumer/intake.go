package consumer

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// takeIn validates a declared message, reserves its first poll one interval from now, and acknowledges it. An invalid
// message is dead-lettered.
func (w *Worker) takeIn(ctx context.Context, d *delivery) error {
	declared, err := d.Declared()
	if bad := (*schema.MemberError)(nil); errors.As(err, &bad) {
		return w.deadLetterInvalid(ctx, d, bad)
	}
	d.Identifier, d.Type, d.Interval = declared.Identifier, declared.Type, w.cfg.Intervals.Of(declared.Type)
	if d.Origin.Traceparent == "" {
		d.Origin.Traceparent = declared.Traceparent
	}
	verdict, err := w.reservations.TakeIn(ctx, &d.Delivery)
	if verdict == lifecycle.Reserve || err != nil { // with an error, the reservation may be stored
		w.room.spend(redelivery.Cost(len(d.Message.Data)))
	}
	switch verdict {
	case lifecycle.Reserve:
		w.count.takenIn.Add(1)
		w.laneOf(d.Type).takenIn.Add(1)
	case lifecycle.Wait:
		w.count.declaredWaits.Add(1)
	default:
		w.declaredBefore(d, verdict)
	}
	return err
}

// declaredBefore counts a declared message that begins no generation.
func (w *Worker) declaredBefore(d *delivery, verdict lifecycle.TakeIn) {
	switch verdict {
	case lifecycle.Twice:
		w.count.declaredTwice.Add(1)
	case lifecycle.Processed:
		w.count.declaredProcessed.Add(1)
		w.log.WithFields(logrus.Fields{"interaction": d.Identifier, "type": d.Type}).
			Debug("declared message dropped; the interaction is already processed")
	}
}
