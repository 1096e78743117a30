package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
	"statusworker/schema/topology"
)

// takeIn gives the handler of the intake: it validates a declared message, reserves its first poll one guidance from
// now, and lets it go. What is invalid becomes a dead letter.
func (w *Worker) takeIn(r *reservations) func(context.Context, jetstream.Msg) error {
	return func(ctx context.Context, msg jetstream.Msg) error {
		d := &delivery{settlement: settlement{msg: msg}}
		if err := originOf(d); err != nil {
			return err
		}
		declared, err := schema.DecodeFrom(msg.Subject(), msg.Data())
		if bad := (*schema.MemberError)(nil); errors.As(err, &bad) {
			d.lane = &lane{}
			return w.refuse(ctx, d, bad)
		}
		d.identifier = declared.Identifier
		d.lane = &lane{typ: declared.Type, guidance: w.cfg.Intervals.Of(declared.Type)}
		if d.origin.Traceparent == "" {
			d.origin.Traceparent = declared.Traceparent
		}
		if err := r.first(ctx, d, w); err != nil {
			return err
		}
		return d.ack()
	}
}

// first makes the first reservation of a declared message, or finds that it needs none. Only when it returns nil is the
// interaction in another stored message.
func (r *reservations) first(ctx context.Context, d *delivery, w *Worker) error {
	next := reservation{at: position{life: d.at.life, number: 1}}
	var expected uint64
	for giveUp := r.cfg.Now().Add(refusedFor); ; {
		next.due = r.due(d.lane.guidance)
		err := r.put(ctx, d, &next, expected)
		if err == nil {
			w.count.takenIn.Add(1)
			if expected != 0 {
				w.count.declaredAgain.Add(1)
			}
			return nil
		}
		if !topology.Refused(err) {
			return err
		}
		r.count.refused.Add(1)
		pending, err := r.pending(ctx, d.identifier)
		switch {
		case err != nil:
			return err
		case pending == nil:
			expected = 0
		case pending.at.life.Equal(d.at.life):
			return nil // taken in before; the ack was lost
		case pending.tombstone:
			expected = pending.sequence // declared again after its end
		case pending.at.life.IsZero():
			return fmt.Errorf("taking in %s: a message that is no reservation is stored under %s", d.identifier, schema.HoldSubjects(d.identifier))
		default:
			// A reservation of another life. It may also be one that is just falling due and is still shown: believing
			// it is safe, because then its due message is stored.
			w.count.declaredTwice.Add(1)
			return nil
		}
		if !r.cfg.Now().Before(giveUp) {
			return fmt.Errorf("taking in %s: %w", d.identifier, errReserved)
		}
		select {
		case <-time.After(refusedEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
