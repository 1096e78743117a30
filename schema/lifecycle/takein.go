package lifecycle

import "time"

// TakeIn is what becomes of a declared message that arrives.
type TakeIn string

// The verdicts on a declared message. All but Reserve, Wait and Foreign end its delivery: acknowledge it.
const (
	// Reserve: the message begins its generation. Reserve its first poll on the condition that neither a reservation
	// nor a due message of the interaction is stored.
	Reserve TakeIn = "reserve"
	// ReserveBesideDue: as Reserve, on the condition that no reservation is stored. The due message has no more effect.
	ReserveBesideDue TakeIn = "reserve beside due"
	// TakenIn: the message was taken in before.
	TakenIn TakeIn = "taken in"
	// Twice: the interaction was declared before, and its outcome is still to come, or came after this message was
	// stored.
	Twice TakeIn = "declared twice"
	// Processed: the interaction has processed events.
	Processed TakeIn = "declared after processed events"
	// Wait: an earlier generation has ended, and its reservation is still stored. Replacing that could lose the
	// interaction: a schedule that fires takes away all that lies on its subject, also what was stored there in its
	// last instant.
	Wait TakeIn = "wait"
	// Foreign: a message that no worker stored lies in the place of the reservation.
	Foreign TakeIn = "foreign message"
)

// TakeIn judges a declared message. With Wait it gives when the reservation falls due, by the broker's clock.
func (s Snapshot) TakeIn(d Declared) (verdict TakeIn, until time.Time) {
	switch {
	case s.has(d.Stored):
		return TakenIn, time.Time{}
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
		return Twice, time.Time{}
	}
	if s.Due != nil && !s.over(*s.Due, d) {
		return Twice, time.Time{}
	}
	if o := s.Declared; d.Replays.IsZero() && o != nil && !o.Invalid && o.Stored.Before(d.Stored) && !s.has(o.Stored) &&
		!s.failedSince(*o) {
		return Twice, time.Time{}
	}
	if s.Due != nil {
		return ReserveBesideDue, time.Time{}
	}
	return Reserve, time.Time{}
}

// has tells whether anything of a generation is stored beside its declared message.
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

// processed tells whether a processed event is stored.
func (s Snapshot) processed() bool {
	for _, o := range s.Outcomes {
		if o.Destination != "" && !o.Foreign() {
			return true
		}
	}
	return false
}

// failedSince tells whether a dead letter was stored after a declared message that does not replay it.
func (s Snapshot) failedSince(d Declared) bool {
	for _, o := range s.Outcomes {
		if o.Reason != "" && !o.invalid() && !o.Foreign() && o.Generation.After(d.Replays) &&
			!o.Stored.Before(d.Stored) {
			return true
		}
	}
	return false
}

// over tells whether a reservation or a due message has no more effect but to keep its place until it has fallen due or
// is acknowledged. Of a replayed dead letter the generation has ended, also where somebody has deleted the dead letter
// meanwhile.
func (s Snapshot) over(r Reserved, d Declared) bool {
	return r.Tombstone || r.Foreign() || r.Generation.Equal(d.Replays) || s.ended(r.Generation)
}

// Taken tells whether somebody else has taken over from a due message: a later reservation is stored. Where it is not,
// a reservation that was refused proves nothing: on a replicated stream, one that has just fallen due may still be
// seen.
func (s Snapshot) Taken(due Position) bool {
	return s.Reservation != nil && s.Reservation.After(due)
}

// EndedBy tells whether a stored reservation is to become a tombstone because its generation has ended.
func (r Reserved) EndedBy(generation time.Time) bool {
	return !r.Tombstone && r.Generation.Equal(generation)
}
