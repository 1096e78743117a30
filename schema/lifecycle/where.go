package lifecycle

import "time"

// State is where an interaction is.
type State string

// The states.
const (
	// StateDeclared: a declared message is stored, which no worker has taken in yet.
	StateDeclared State = "declared"
	// StateWaiting: the next poll is reserved. With delayed naks: a worker has had the declared message.
	StateWaiting State = "waiting"
	// StateDue: a poll is due. A worker makes it, or will do so when it has the message.
	StateDue State = "due"
	// StateProcessed: a processed event is stored.
	StateProcessed State = "processed"
	// StateDeadLettered: a dead letter is stored, and nothing that was declared after it.
	StateDeadLettered State = "dead_lettered"
	// StateUnknown: nothing is stored but, for a moment, a tombstone.
	StateUnknown State = "unknown"
)

// States returns all states, in the order in which an interaction passes through them.
func States() []State {
	return []State{StateDeclared, StateWaiting, StateDue, StateProcessed, StateDeadLettered, StateUnknown}
}

// Ended reports whether nothing follows a state unless the interaction is declared again.
func (s State) Ended() bool { return s == StateProcessed || s == StateDeadLettered }

// Place is where an interaction is, and the message that shows it.
type Place struct {
	State State
	// Generation is that of the message. For a foreign message it is when it was stored.
	Generation time.Time
	// Polls is the number of polls of the generation before a pending one. It is 0 if the state is not waiting or
	// polling, and with delayed naks.
	Polls uint64
	// By is the reservation or due message of the state, or the tombstone of an unknown interaction; otherwise nil.
	By *Reserved
	// Outcome is the newest outcome of an interaction that has ended.
	Outcome *Outcome
}

// Ends reports whether an outcome is one of the generation of the place.
func (p Place) Ends(o Outcome) bool { return !o.Foreign() && o.Generation.Equal(p.Generation) }

// Where returns where an interaction is. The snapshot must have been read in this order: the declared message, the
// polls, the outcomes. An interaction's next message is stored before the previous one is deleted, so at least one of
// them is read, unless the interaction is declared again between the reads.
func (s Snapshot) Where() Place {
	if o := s.newest(func(o Outcome) bool { return o.Destination != "" && !o.Foreign() }); o != nil {
		return Place{State: StateProcessed, Generation: o.Generation, Outcome: o}
	}
	if p, ok := s.polled(); ok {
		return p
	}
	if p, ok := s.untaken(); ok {
		return p
	}
	failed := s.newest(func(o Outcome) bool { return o.Reason != "" && !o.Foreign() && !o.invalid() })
	if failed == nil {
		failed = s.newest(func(o Outcome) bool { return o.invalid() && !o.Foreign() })
	}
	if failed != nil {
		return Place{State: StateDeadLettered, Generation: failed.Generation, Outcome: failed}
	}
	p := Place{State: StateUnknown}
	for _, r := range []*Reserved{s.Due, s.Reservation} {
		if r != nil && r.Tombstone {
			p.Generation, p.By = r.Generation, r
		}
	}
	return p
}

// newest returns the outcome of the latest generation among those that match, or nil.
func (s Snapshot) newest(match func(Outcome) bool) (newest *Outcome) {
	for i := range s.Outcomes {
		o := &s.Outcomes[i]
		if match(*o) && (newest == nil || o.Generation.After(newest.Generation) ||
			o.Generation.Equal(newest.Generation) && o.Sequence > newest.Sequence) {
			newest = o
		}
	}
	return newest
}

// polled returns the place of an interaction whose next poll is due or reserved.
func (s Snapshot) polled() (Place, bool) {
	switch {
	case s.goesOn(s.Due) && !s.staleDue():
		return s.Due.place(StateDue), true
	case s.goesOn(s.Reservation):
		return s.Reservation.place(StateWaiting), true
	}
	return Place{}, false
}

// staleDue reports whether the reservation shows that the generation of the due message has ended.
func (s Snapshot) staleDue() bool {
	r, generation := s.Reservation, s.Due.generation()
	return r != nil && !r.Foreign() &&
		(r.Generation.After(generation) || r.Tombstone && r.Generation.Equal(generation))
}

// goesOn reports whether a reservation or a due message leads to another poll.
func (s Snapshot) goesOn(r *Reserved) bool {
	if r == nil || r.Tombstone {
		return false
	}
	of := *r
	of.Generation = r.generation()
	return !s.ended(of)
}

func (r *Reserved) place(state State) Place {
	return Place{State: state, Generation: r.generation(), Polls: max(r.Number, 1) - 1, By: r}
}

// untaken returns the place of an interaction whose declared message has yet to be taken in, or, if it is invalid, to
// be dead-lettered. With delayed naks the message remains stored while it is polled.
func (s Snapshot) untaken() (Place, bool) {
	d := s.Declared
	if d == nil {
		return Place{}, false
	}
	p := Place{State: StateDeclared, Generation: d.Stored}
	if d.Invalid {
		settled := s.newest(func(o Outcome) bool { return o.invalid() && !o.Generation.Before(d.Stored) })
		return p, settled == nil
	}
	switch verdict, _ := s.TakeIn(*d); verdict {
	case Reserve, Wait:
		if d.Delivered {
			p.State = StateWaiting
		}
		return p, true
	}
	return Place{}, false
}
