package lifecycle

import (
	"slices"

	"statusworker/schema"
)

// Publish is what becomes of outcomes that are to be stored.
type Publish string

// The verdicts on wanted outcomes. All but Store end the publishing.
const (
	// Store: those that are missing are to be stored, on the condition that nothing else is stored meanwhile.
	Store Publish = "store"
	// Stored: all of them are stored.
	Stored Publish = "stored"
	// Contradicted: the generation has ended otherwise. What is stored is kept.
	Contradicted Publish = "contradicted"
	// Superseded: the interaction has ended in another generation, after which this one has no outcome.
	Superseded Publish = "superseded"
)

// Plan is the verdict on wanted outcomes.
type Plan struct {
	Verdict Publish
	// Missing outcomes are still to be stored, in this order, the first of them on the condition that the newest
	// outcome of the interaction has the sequence Expected.
	Missing  []schema.Outcome
	Expected uint64
	// By is the stored outcome that forbids them, of Contradicted and Superseded.
	By Outcome
	// HalfSuccess says that By is a processed event of the same generation, and a dead letter was wanted: whoever
	// stored By may not have stored the processed events that go with it.
	HalfSuccess bool
}

// Publish judges wanted outcomes of one generation: one dead letter, or processed events.
func (s Snapshot) Publish(wanted ...schema.Outcome) Plan {
	var plan Plan
	for _, o := range s.Outcomes {
		plan.Expected = max(plan.Expected, o.Sequence)
	}
	o := wanted[0]
	own, other := s.split(o)
	switch {
	case o.Reason == schema.InvalidMessage:
		if slices.ContainsFunc(s.Outcomes, func(stored Outcome) bool { return stored.settles(o) }) {
			plan.Verdict = Stored
			return plan
		}
	case o.Failed() && own != nil:
		plan.Verdict, plan.By = Stored, *own
		if own.Reason != o.Reason {
			plan.Verdict, plan.HalfSuccess = Contradicted, own.Destination != "" && !own.Foreign()
		}
		return plan
	case own != nil && own.Reason != "":
		plan.Verdict, plan.By = Contradicted, *own
		return plan
	case (own == nil || own.Foreign()) && other != nil:
		plan.Verdict, plan.By = Superseded, *other
		return plan
	}
	for _, o := range wanted {
		if o.Failed() || !s.handedOn(o) {
			plan.Missing = append(plan.Missing, o)
		}
	}
	plan.Verdict = Store
	if len(plan.Missing) == 0 {
		plan.Verdict = Stored
	}
	return plan
}

// split finds an outcome of the same generation as a wanted one, and one of another generation that leaves it no
// outcome. A processed event that is none of this stage's may be of any generation; a dead letter that is none says
// nothing.
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
		case o.Destination != "" || o.Generation.After(generation):
			other = o
		}
	}
	return own, other
}

// handedOn tells whether a processed event of the same generation, or of none, is stored for a destination.
func (s Snapshot) handedOn(wanted schema.Outcome) bool {
	return slices.ContainsFunc(s.Outcomes, func(o Outcome) bool {
		return o.Destination == wanted.Destination && (o.Foreign() || o.Generation.Equal(wanted.Origin.Stored))
	})
}

// settles tells whether a stored dead letter shows that an invalid message has one. Each invalid message has its own. A
// declared subject takes its next message when the one before is settled, so a newer one from there shows it as well.
func (o Outcome) settles(wanted schema.Outcome) bool {
	message := wanted.Origin.Stored
	return o.invalid() &&
		(o.Generation.Equal(message) || o.Source == wanted.Origin.Subject && o.Generation.After(message))
}
