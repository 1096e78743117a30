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

// first makes the first reservation of a declared message, or finds that it needs none. When it returns 0 and no error,
// the interaction is in another stored message. When it returns a time to wait, an earlier life of the interaction has
// just ended: its tombstone is there until then.
func (r *reservations) first(ctx context.Context, d *delivery, w *Worker) (wait time.Duration, err error) {
	if err := r.sureOfTime(ctx); err != nil {
		return 0, err
	}
	next := reservation{at: position{life: d.at.life, number: 1}}
	// What is due counts as well: a reservation of an interaction whose poll has yet to be made would be a second life of it.
	among := schema.WaitingSubjects(d.identifier)
	for giveUp := r.cfg.Now().Add(refusedFor); ; {
		next.due = r.due(d.lane.guidance, d.lane.guidance)
		err := r.put(ctx, d, &next, 0, among)
		if err == nil {
			w.count.takenIn.Add(1)
			w.laneOf(d.lane.typ).takenIn.Add(1)
			return 0, nil
		}
		if !topology.Refused(err) {
			return 0, err
		}
		r.count.refused.Add(1)
		pending, err := r.pending(ctx, d.identifier, among)
		ours := pending != nil && !pending.at.life.IsZero()
		replayed := ours && pending.at.life.Equal(supersedes(d))
		over := replayed || pending != nil && pending.tombstone
		if err == nil && ours && !over && !pending.at.life.Equal(d.at.life) {
			// Who declares again as soon as there is an outcome may be quicker than the tombstone, or its worker died.
			over, err = w.outcomes.Ended(ctx, d.identifier, pending.at.life)
		}
		switch {
		case err != nil:
			return 0, err
		case pending == nil:
		case pending.at.life.Equal(d.at.life):
			return 0, nil // taken in before; the ack was lost
		case pending.fired && (pending.tombstone || replayed || !ours):
			// Nothing shall come of it: it waits to be acked, or finds that its interaction has been taken over. What somebody
			// else has published there may be where no lane looks.
			among = schema.HoldSubjects(d.identifier)
			continue // that is another question, however long this one took
		case pending.fired && over:
			return d.lane.guidance, nil // its poll, which is due, finds the outcome, or what is missing of it
		case over:
			// Declared again after its end. Replacing the tombstone could lose the interaction: a schedule that fires
			// takes away all that lies on its subject, also what was stored there, and acked, in its last instant. Of a
			// life whose dead letter is replayed, the reservation may still stand: it has ended all the same.
			w.count.declaredAgain.Add(1)
			return max(0, r.clock.local(pending.due).Sub(r.cfg.Now())) + tombstoneGone, nil
		case !ours:
			return 0, fmt.Errorf("taking in %s: a message that is no reservation is stored under %s", d.identifier, schema.HoldSubjects(d.identifier))
		default:
			// A reservation of another life. It may also be one that is just falling due and is still shown: believing
			// it is safe, because then its due message is stored.
			w.count.declaredTwice.Add(1)
			return 0, nil
		}
		if !r.cfg.Now().Before(giveUp) {
			return 0, fmt.Errorf("taking in %s: %w", d.identifier, errReserved)
		}
		select {
		case <-time.After(refusedEvery):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// supersedes is the life of the dead letter that a declared message replays; zero where it replays none.
func supersedes(d *delivery) time.Time {
	life, err := time.Parse(time.RFC3339Nano, d.msg.Headers().Get(schema.HeaderSupersedes))
	if err != nil {
		return time.Time{}
	}
	return life
}
