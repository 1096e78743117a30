package lifecycle

import "time"

// TakeIn is the verdict on a declared message that arrives.
type TakeIn string

// The verdicts on a declared message. TakenIn, Twice and Processed end its delivery: acknowledge it. They follow from a
// stored outcome, or from a stored message of the generation of the declared message, and never from what is absent.
const (
	// Reserve: the message begins its generation. Reserve its first poll on the condition that neither a reservation
	// nor a due message of the interaction is stored, except the one that the snapshot ignores.
	Reserve TakeIn = "reserve"
	// TakenIn: the message was taken in before.
	TakenIn TakeIn = "taken in"
	// Twice: the interaction was declared before, and has an outcome that was stored after this message.
	Twice TakeIn = "declared twice"
	// Processed: the interaction has processed events that were stored before this message.
	Processed TakeIn = "declared after processed events"
	// Undecided: another generation is polled, or another message is to be taken in. Whether this message begins a
	// generation depends on when the outcome of that other generation is stored. That outcome may be stored already:
	// see "What is read may be old". Keep the message until the outcome is read.
	Undecided TakeIn = "undecided"
	// Wait: an earlier generation has ended, and its reservation or a due message is still stored. A reservation beside
	// them could be lost: a schedule that fires purges its subject, including a message that was stored there just
	// before, and the worker of a due message could replace it.
	Wait TakeIn = "wait"
	// Foreign: a foreign message is stored in place of the reservation.
	Foreign TakeIn = "foreign message"
)

// TakeIn decides about a declared message. With Wait and Undecided it returns when the reservation falls due, by
// the broker's clock; zero if there is none.
func (s Snapshot) TakeIn(d Declared) (verdict TakeIn, until time.Time) {
	switch {
	case s.has(d.Stored):
		return TakenIn, time.Time{}
	case s.processedSince(d.Stored):
		return Twice, time.Time{}
	case s.processed():
		return Processed, time.Time{}
	case s.failedSince(d):
		return Twice, time.Time{}
	}
	if r := s.Reservation; r != nil {
		switch {
		case r.Foreign():
			return Foreign, time.Time{}
		case s.over(*r, d):
			return Wait, r.Due
		}
		return Undecided, r.Due
	}
	if s.Due != nil {
		if s.over(*s.Due, d) {
			return Wait, time.Time{}
		}
		return Undecided, time.Time{}
	}
	if d.Replays.IsZero() && s.declaredBefore(d) {
		return Undecided, time.Time{}
	}
	return Reserve, time.Time{}
}

// declaredBefore reports whether an earlier declared message begins a generation.
func (s Snapshot) declaredBefore(d Declared) bool {
	o := s.Declared
	return o != nil && !o.Invalid && o.Stored.Before(d.Stored) && !s.has(o.Stored) && !s.failedSince(*o)
}

// has reports whether any message of a generation is stored in addition to its declared message.
func (s Snapshot) has(generation time.Time) bool {
	for _, r := range []*Reserved{s.Reservation, s.Due} {
		if r != nil && r.Generation.Equal(generation) {
			return true
		}
	}
	for _, o := range s.Outcomes {
		if !o.invalid() && o.Generation.Equal(generation) {
			return true
		}
	}
	return false
}

// processed reports whether a processed event is stored.
func (s Snapshot) processed() bool { return s.processedSince(time.Time{}) }

// processedSince reports whether a processed event was stored at a time or later.
func (s Snapshot) processedSince(t time.Time) bool {
	for _, o := range s.Outcomes {
		if o.Destination != "" && !o.Foreign() && !o.Stored.Before(t) {
			return true
		}
	}
	return false
}

// failedSince reports whether a dead letter that d does not replay was stored after d.
func (s Snapshot) failedSince(d Declared) bool {
	for _, o := range s.Outcomes {
		if o.precludes(d.Stored, d.Replays) {
			return true
		}
	}
	return false
}

// over reports whether a reservation or a due message leads to no more polls: it only occupies its place until it has
// fallen due or is acknowledged. The generation of a replayed dead letter has ended even if the dead letter has been
// deleted since.
func (s Snapshot) over(r Reserved, d Declared) bool {
	return r.Tombstone || r.Foreign() || r.Generation.Equal(d.Replays) || s.ended(r)
}

// Taken reports whether a due message leads to no poll, for one of two reasons: a later reservation or due message is
// stored, so another worker has taken over; or the tombstone of its generation is stored, so polling has ended.
// Otherwise a rejected reservation proves nothing: a replicated stream may still show one that has just fallen due.
func (s Snapshot) Taken(due Position) bool {
	r := s.Reservation
	return r != nil && (r.After(due) || r.Tombstone && r.Generation.Equal(due.Generation)) ||
		s.Due != nil && s.Due.After(due)
}

// EndedBy reports whether a stored reservation must become a tombstone because its generation has ended.
func (r Reserved) EndedBy(generation time.Time) bool {
	return !r.Tombstone && r.Generation.Equal(generation)
}
