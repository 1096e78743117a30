package lifecycle

import (
	"slices"

	"statusworker/schema"
)

// Publish is the verdict on outcomes that are to be stored.
type Publish string

// The verdicts on wanted outcomes. All except Store end the publishing.
const (
	// Store: store the missing outcomes, on the condition that no other outcome is stored in the meantime.
	Store Publish = "store"
	// Stored: all wanted outcomes are stored.
	Stored Publish = "stored"
	// Contradicted: the generation has ended with another outcome, which is kept.
	Contradicted Publish = "contradicted"
	// Superseded: the interaction has ended in another generation, and this generation has no outcome.
	Superseded Publish = "superseded"
)

// Plan is the verdict on wanted outcomes, with its facts.
type Plan struct {
	Verdict Publish
	// Missing are the outcomes to store, in this order. Store the first on the condition that the newest outcome of
	// the interaction has the sequence Expected.
	Missing  []schema.Outcome
	Expected uint64
	// By is the stored outcome that excludes the wanted ones. It is set with Contradicted and Superseded.
	By Outcome
	// HalfSuccess reports that By is a processed event of the same generation, and a dead letter was wanted: the
	// worker that stored By may have ended before it stored the other processed events.
	HalfSuccess bool
}

// Publish decides about wanted outcomes of one generation: one dead letter, or processed events.
func (s Snapshot) Publish(wanted ...schema.Outcome) Plan {
	var plan Plan
	for _, o := range s.Outcomes {
		plan.Expected = max(plan.Expected, o.Sequence)
	}
	if s.decided(&plan, wanted[0]) {
		return plan
	}
	for _, o := range wanted {
		if o.Failed() || !s.storedFor(o) {
			plan.Missing = append(plan.Missing, o)
		}
	}
	plan.Verdict = Store
	if len(plan.Missing) == 0 {
		plan.Verdict = Stored
	}
	return plan
}

// decided sets the verdict of a plan if a stored outcome decides it. It reports whether that is so.
func (s Snapshot) decided(plan *Plan, wanted schema.Outcome) bool {
	own, other := s.split(wanted)
	switch {
	case wanted.Reason == schema.InvalidMessage:
		plan.Verdict = Stored
		return slices.ContainsFunc(s.Outcomes, func(stored Outcome) bool { return stored.settles(wanted) })
	case wanted.Failed() && own != nil:
		plan.Verdict, plan.By = Stored, *own
		if own.Reason != wanted.Reason {
			plan.Verdict, plan.HalfSuccess = Contradicted, own.Destination != "" && !own.Foreign()
		}
	case own != nil && own.Reason != "":
		plan.Verdict, plan.By = Contradicted, *own
	case (own == nil || own.Foreign()) && other != nil:
		plan.Verdict, plan.By = Superseded, *other
	default:
		return false
	}
	return true
}

// split finds an outcome of the wanted outcome's generation, and one of another generation that excludes the wanted
// outcome. A foreign processed event may be of any generation. A foreign dead letter is ignored. A dead letter that
// precludes the wanted outcome's generation excludes it, too: the generation began because its first reservation was
// stored late, or because its worker did not see an earlier declared message.
func (s Snapshot) split(wanted schema.Outcome) (own, other *Outcome) {
	generation := wanted.Origin.Stored
	for i := range s.Outcomes {
		switch o := &s.Outcomes[i]; {
		case o.invalid(), o.Foreign() && o.Reason != "":
		case o.Foreign():
			if own == nil {
				own = o
			}
		case o.Generation.Equal(generation):
			own = o
		case o.Destination != "" || o.Generation.After(generation) || o.precludes(generation, wanted.Origin.Replays):
			other = o
		}
	}
	return own, other
}

// storedFor reports whether a processed event for the same destination is stored, of the same generation or foreign.
func (s Snapshot) storedFor(wanted schema.Outcome) bool {
	return slices.ContainsFunc(s.Outcomes, func(o Outcome) bool {
		return o.Destination == wanted.Destination && (o.Foreign() || o.Generation.Equal(wanted.Origin.Stored))
	})
}

// settles reports whether a stored dead letter proves that the wanted dead letter of an invalid message is stored. Each
// invalid message has its own dead letter. A declared subject accepts its next message when the one before is settled,
// so the dead letter of a newer message from that subject is a proof, too.
func (o Outcome) settles(wanted schema.Outcome) bool {
	message := wanted.Origin.Stored
	return o.invalid() &&
		(o.Generation.Equal(message) || o.Source == wanted.Origin.Subject && o.Generation.After(message))
}
