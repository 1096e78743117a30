package lifecycle

import (
	"slices"
	"time"

	"statusworker/schema"
)

func (w *walk) takeIn(s Snapshot) {
	relevant := without(s)
	for _, stored := range []time.Time{at(10), at(17), at(20), at(30), at(50)} {
		for _, replays := range []time.Time{{}, at(10), at(20)} {
			if !replays.Before(stored) {
				continue
			}
			w.events++
			d := Declared{Stored: stored, Replays: replays}
			verdict, until := s.TakeIn(d)
			if again, _ := relevant.TakeIn(d); again != verdict {
				w.fail(s, "TakeIn of %v = %s, but %s without messages that are not outcomes", stored, verdict, again)
			}
			if own := s.of(stored); own != (verdict == TakenIn) {
				w.fail(s, "TakeIn of %v = %s; a message of its generation is stored: %t", stored, verdict, own)
			}
			w.proven(s, d, verdict)
			switch verdict {
			case TakenIn, Twice, Processed:
			case Undecided:
				w.undecided(s, d, until)
			case Reserve:
				w.mayBegin(s, d)
			case Wait:
				w.waits(s, d, until)
			case Foreign:
				if s.Reservation == nil || !s.Reservation.Foreign() {
					w.fail(s, "TakeIn of %v = %s without a foreign reservation", stored, verdict)
				}
			default:
				w.fail(s, "unknown verdict %q", verdict)
			}
		}
	}
}

// waits checks that a message waits until nothing is stored of the polls of a generation that has ended.
func (w *walk) waits(s Snapshot, d Declared, until time.Time) {
	want := time.Time{}
	if s.Reservation != nil {
		want = s.Reservation.Due
	}
	if !until.Equal(want) || s.Reservation == nil && s.Due == nil || s.Reservation != nil && s.Reservation.Foreign() {
		w.fail(s, "TakeIn of %v waits until %v, want %v, when a reservation falls due", d.Stored, until, want)
		return
	}
	gone := s
	gone.Reservation, gone.Due = nil, nil
	if next, _ := gone.TakeIn(d); next == Wait || next == Foreign {
		w.fail(s, "TakeIn of %v = %s, also when nothing of the polls is stored", d.Stored, next)
	}
}

// decides reports whether a stored outcome leaves a declared message without effect: it is an outcome of the message's
// generation, a processed event, or a later dead letter that the message does not replay.
func decides(o Outcome, d Declared) bool {
	return counts(o) && (o.Generation.Equal(d.Stored) || o.Destination != "" ||
		!o.Stored.Before(d.Stored) && o.Generation.After(d.Replays))
}

// proven checks that a declared message is acknowledged if and only if a stored message proves that it may be: an
// outcome that decides, or a message of its generation. A read may be old, and lack any message. So nothing is
// acknowledged because a message is absent, and what an old read acknowledges, a later one acknowledges, too.
func (w *walk) proven(s Snapshot, d Declared, verdict TakeIn) {
	proof := s.of(d.Stored) || slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return decides(o, d) })
	acknowledged := verdict == TakenIn || verdict == Twice || verdict == Processed
	if acknowledged != proof {
		w.fail(s, "TakeIn of %v that replays %v = %s; a stored message proves that it may be acknowledged: %t",
			d.Stored, d.Replays, verdict, proof)
	}
}

// undecided checks that a message waits only for a generation that goes on or begins, and that the outcome of that
// generation decides.
func (w *walk) undecided(s Snapshot, d Declared, until time.Time) {
	for _, r := range []*Reserved{s.Reservation, s.Due} {
		if r == nil || !goesOn(r, s.Outcomes) || r.Generation.Equal(d.Replays) {
			continue
		}
		if r == s.Reservation && !until.Equal(r.Due) {
			w.fail(s, "TakeIn of %v waits until %v, want until the reservation is due", d.Stored, until)
		}
		for _, stored := range []time.Time{d.Stored.Add(-time.Second), d.Stored.Add(time.Second)} {
			ended := s
			ended.Declared = nil
			ended.Outcomes = append(slices.Clone(s.Outcomes), dead(r.Generation, stored, schema.Rejected))
			if next, _ := ended.TakeIn(d); next == Undecided && (s.Due == nil || s.Reservation == nil) {
				w.fail(s, "TakeIn of %v that replays %v = %s, also when the outcome of %v is stored at %v",
					d.Stored, d.Replays, next, r.Generation, stored)
			}
		}
		return
	}
	if o := s.Declared; o != nil && !o.Invalid && o.Stored.Before(d.Stored) {
		if next, _ := s.TakeIn(*o); next == Reserve {
			return
		}
	}
	w.fail(s, "TakeIn of %v that replays %v is undecided, but no other generation goes on", d.Stored, d.Replays)
}

// mayBegin checks that a generation begins only if the one before has ended in a dead letter that was stored earlier.
func (w *walk) mayBegin(s Snapshot, d Declared) {
	if s.Reservation != nil || s.Due != nil {
		w.fail(s, "TakeIn of %v begins a generation beside another one", d.Stored)
	}
	for _, o := range s.Outcomes {
		if decides(o, d) {
			w.fail(s, "TakeIn of %v begins a generation after %+v", d.Stored, o)
		}
	}
}

// due checks that a worker whose reservation was rejected drops its poll only if a later reservation, or a later due
// message, is stored, or the tombstone of its generation, whose number may be lower if two polls of the generation were
// due.
func (w *walk) due(s Snapshot) {
	for _, g := range generations {
		for _, n := range []uint64{0, 1, 2} {
			w.events++
			p := Position{Generation: g, Number: n}
			later := slices.ContainsFunc([]*Reserved{s.Reservation, s.Due}, func(r *Reserved) bool {
				return r != nil && (r.Generation.After(g) || r.Generation.Equal(g) && r.Number > n)
			})
			if r := s.Reservation; r != nil && r.Tombstone && r.Generation.Equal(g) {
				later = true
			}
			if s.Taken(p) != later {
				w.fail(s, "Taken of poll %d of %v = %t", n, g, s.Taken(p))
			}
		}
		w.events++
		if r := s.Reservation; r != nil && r.EndedBy(g) && (r.Tombstone || !r.Generation.Equal(g)) {
			w.fail(s, "EndedBy generation %v = true", g)
		}
	}
}
