package lifecycle

// Replay is the verdict on a dead letter that an operator replays.
type Replay string

// The verdicts on a replay.
const (
	// Declare: declare the interaction again.
	Declare Replay = "declare"
	// Later: the interaction has been declared again or processed since. The dead letter is obsolete.
	Later Replay = "later"
	// Ending: a worker has not yet settled a message of the generation that ended, or of an earlier one. Retry later.
	Ending Replay = "ending"
	// Unclear: a foreign message is stored on the subject of a processed event.
	Unclear Replay = "unclear"
)

// Replay decides whether a dead letter may be replayed, from the stored declared message, reservation and due message.
// By is the reservation or due message that the verdict is based on; nil if it is based on the declared message or on
// none. The snapshot must contain other messages than the comment of [Snapshot] says. Its Declared is the newest
// declared message under any type, or, for the dead letter of an invalid message, the one on its own subject. Its Due
// is the last due message, or, if that is a tombstone, the first due message that is not a tombstone, if there is one.
func (s Snapshot) Replay(letter Outcome) (verdict Replay, by *Reserved) {
	d := s.Declared
	if d != nil {
		switch {
		case letter.invalid():
			if !d.Stored.After(letter.Generation) {
				return Ending, nil // d is the invalid message itself
			}
		case d.Invalid, !d.Stored.After(letter.Stored):
			return Ending, nil // d begins no generation, and occupies its subject until it is acknowledged
		}
	}
	for _, r := range []*Reserved{s.Reservation, s.Due} {
		switch {
		case r == nil:
		case r.generation().After(letter.Generation):
			return Later, r
		case letter.invalid(): // r is of another generation: an invalid message has no reservation
		case !r.Tombstone:
			return Ending, r
		}
	}
	if d != nil {
		return Later, nil
	}
	return Declare, nil
}

// ReplayBeside decides whether a dead letter may be replayed, from one outcome o that was stored after it.
func (o Outcome) ReplayBeside(letter Outcome) Replay {
	switch {
	case o.Foreign() && o.Destination != "":
		return Unclear
	case o.Foreign(), o.invalid() && (!letter.invalid() || o.Source != letter.Source):
		return Declare
	case o.Generation.After(letter.Generation), o.Destination != "" && !letter.invalid():
		return Later
	}
	return Declare
}
