package explore

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// broken is a broker that takes one of the worker's defences away.
type broken struct {
	broker.Broker
	publish func(context.Context, broker.Publication) (broker.Ack, error)
}

func (b broken) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	return b.publish(ctx, p)
}

// eager makes reservations fall due half an interval too early.
func eager(b broker.Broker) broker.Broker {
	return broken{b, func(ctx context.Context, p broker.Publication) (broker.Ack, error) {
		if time.Until(p.Schedule.At) > consumer.Guidance.Chat/2 { // otherwise it falls due at once, again and again
			p.Schedule.At = p.Schedule.At.Add(-consumer.Guidance.Chat / 2)
		}
		return b.Publish(ctx, p)
	}}
}

// forgetful acknowledges outcomes that it does not store.
func forgetful(b broker.Broker) broker.Broker {
	return broken{b, func(ctx context.Context, p broker.Publication) (broker.Ack, error) {
		if streamOf(p.Subject) == ns.StreamOutcomes() {
			return broker.Ack{Sequence: 1}, nil
		}
		return b.Publish(ctx, p)
	}}
}

// careless stores outcomes without a condition and an ID.
func careless(b broker.Broker) broker.Broker {
	return broken{b, func(ctx context.Context, p broker.Publication) (broker.Ack, error) {
		if streamOf(p.Subject) == ns.StreamOutcomes() {
			p.If, p.ID = broker.Condition{}, ""
		}
		return b.Publish(ctx, p)
	}}
}

// trusting takes every answer to a reservation for an acknowledgement.
func trusting(b broker.Broker) broker.Broker {
	return broken{b, func(ctx context.Context, p broker.Publication) (broker.Ack, error) {
		ack, err := b.Publish(ctx, p)
		if errors.Is(err, broker.ErrNoAnswer) && streamOf(p.Subject) == ns.StreamPolls() &&
			!lifecycle.IsTombstone(p.Header) {
			return broker.Ack{Sequence: 1}, nil
		}
		return ack, err
	}}
}

// unconditional reserves whether or not another reservation is stored.
func unconditional(b broker.Broker) broker.Broker {
	return broken{b, func(ctx context.Context, p broker.Publication) (broker.Ack, error) {
		if streamOf(p.Subject) == ns.StreamPolls() {
			p.If = broker.Condition{}
		}
		return b.Publish(ctx, p)
	}}
}

// The oracle sees what a broker breaks that takes a defence away.
func TestOracle(t *testing.T) {
	if !ordered {
		t.Skip("needs histories that repeat with their seed")
	}
	for name, c := range map[string]struct {
		breaks func(broker.Broker) broker.Broker
		want   []string // one of these invariants
		also   string   // another one that a history may break first
	}{
		"reservations too early":           {eager, []string{"I3"}, ""},
		"outcomes that are not stored":     {forgetful, []string{"I1", "I4"}, ""},
		"outcomes without a condition":     {careless, []string{"I1", "I2"}, ""},
		"reservations that are not stored": {trusting, []string{"I4"}, ""},
		// Of an interaction that is declared twice, the second message begins a generation.
		"reservations without a condition": {unconditional, []string{"I3", "I7"}, "I11"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			for s := uint64(1); s <= 200; s++ {
				w := RandomWorld(s, consumer.Schedule, 10)
				w.Break = c.breaks
				p := Plan{Seed: s}
				reseed(s)
				h := run(t, w, newRandom(s, w, 20, &p), false)
				if len(h.Violations) == 0 || h.Violations[0].Invariant == c.also {
					continue
				}
				if v := h.Violations[0]; !slices.Contains(c.want, v.Invariant) {
					t.Errorf("%v, want one of %v", v, c.want)
				}
				t.Logf("%d histories, %s: %v", s, time.Since(began), h.Violations[0])
				return
			}
			t.Errorf("no violation in 200 histories, want one of %v", c.want)
		})
	}
}
