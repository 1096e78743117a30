package lifecycle

import (
	"slices"

	"statusworker/schema"
)

func (w *walk) replay(s Snapshot) {
	for _, letter := range s.Outcomes {
		if letter.Reason == "" || letter.Generation.IsZero() {
			continue
		}
		w.events++
		verdict, by := s.Replay(letter)
		w.replayed(s, letter, verdict, by)
		beside := Declare
		for _, o := range s.Outcomes {
			v := o.ReplayBeside(letter)
			if o.Stored.After(letter.Stored) && v != Declare {
				beside = v
			}
			if later := counts(o) && o.Generation.After(letter.Generation); later && v != Later {
				w.fail(s, "ReplayBeside = %s beside a later outcome %+v", v, o)
			}
		}
		switch verdict {
		case Declare:
			w.declaredAgain(s, letter, beside)
		case Later:
			if by == nil && s.Declared == nil {
				w.fail(s, "Replay = %s without a message that is later", verdict)
			}
		case Ending:
			if s.Declared == nil && s.Reservation == nil && s.Due == nil {
				w.fail(s, "Replay = %s without a message that is pending", verdict)
			}
		default:
			w.fail(s, "unknown verdict %q", verdict)
		}
	}
}

// declaredAgain checks that a replay does not interfere with polling, and that the declared message of a replay begins
// a generation, even if the dead letter is deleted before the message is taken in.
func (w *walk) declaredAgain(s Snapshot, letter Outcome, beside Replay) {
	polled := goesOn(s.Reservation, nil) || goesOn(s.Due, nil)
	if s.Declared != nil || polled && !letter.invalid() {
		w.fail(s, "Replay = %s while the interaction is polled or declared", Declare)
	}
	if letter.invalid() || beside != Declare || s.processed() || s.Reservation != nil && s.Reservation.Foreign() ||
		s.Due != nil && s.Due.Foreign() {
		return
	}
	deleted := slices.DeleteFunc(slices.Clone(s.Outcomes), func(o Outcome) bool { return o.Subject == letter.Subject })
	for _, outcomes := range [][]Outcome{s.Outcomes, deleted} {
		again := s
		again.Outcomes = outcomes
		v, _ := again.TakeIn(Declared{Stored: at(100), Replays: letter.Generation})
		if v != Reserve && v != Wait {
			w.fail(again, "Replay = %s, and then TakeIn of the replay = %s", Declare, v)
		}
	}
}

// replayed checks a verdict on a replay against the stored messages that it is based on.
func (w *walk) replayed(s Snapshot, letter Outcome, verdict Replay, by *Reserved) {
	d, invalid := s.Declared, letter.Reason == schema.InvalidMessage
	// A message that begins no generation occupies the declared subject until it is acknowledged.
	waits := d != nil &&
		(invalid && !d.Stored.After(letter.Generation) || !invalid && (d.Invalid || !d.Stored.After(letter.Stored)))
	later := func(r *Reserved) bool {
		return r != nil &&
			(r.Generation.After(letter.Generation) || r.Generation.IsZero() && r.Stored.After(letter.Generation))
	}
	switch {
	case waits != (verdict == Ending && by == nil):
		w.fail(s, "Replay = %s by %+v; a message that begins no generation waits: %t", verdict, by, waits)
	case verdict == Later && by != nil && !later(by), verdict == Ending && later(by):
		w.fail(s, "Replay = %s by %+v", verdict, by)
	case !waits && later(s.Reservation) && verdict != Later:
		w.fail(s, "Replay = %s beside a later reservation", verdict)
	case verdict == Declare && later(s.Due):
		w.fail(s, "Replay = %s beside a later due message", verdict)
	}
}
