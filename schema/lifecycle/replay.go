package lifecycle

// Replay is what becomes of a dead letter that an operator replays.
type Replay string

// The verdicts on a replay.
const (
	// Declare: nothing speaks against declaring the interaction again.
	Declare Replay = "declare"
	// Later: the interaction was declared again, or processed, since. The dead letter is of no more use.
	Later Replay = "later"
	// Ending: a worker has still to work off a message of the generation that ended, or of one before. Look again
	// later.
	Ending Replay = "ending"
	// Unclear: something that this stage did not publish lies in the place of an outcome.
	Unclear Replay = "unclear"
)

// Replay judges the replay of a dead letter by what is stored in front of the outcomes. By is the reservation or due
// message that decided it; nil where the declared message did, or nothing. The Declared of the snapshot is the newest
// one under any type; for the dead letter of an invalid message the one on its own subject.
func (s Snapshot) Replay(letter Outcome) (verdict Replay, by *Reserved) {
	d := s.Declared
	if d != nil {
		switch {
		case letter.invalid():
			if !d.Stored.After(letter.Generation) {
				return Ending, nil // it is the message itself
			}
		case d.Invalid, !d.Stored.After(letter.Stored):
			return Ending, nil // it begins no generation, and keeps its subject until it is acknowledged
		}
	}
	for _, r := range []*Reserved{s.Reservation, s.Due} {
		switch {
		case r == nil:
		case r.generation().After(letter.Generation):
			return Later, r
		case letter.invalid(): // it has no reservation: this one is another generation's
		case !r.Tombstone:
			return Ending, r
		}
	}
	if d != nil {
		return Later, nil
	}
	return Declare, nil
}

// ReplayBeside judges the replay of a dead letter by one outcome that was stored after it.
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
