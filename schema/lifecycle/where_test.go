package lifecycle

import (
	"slices"
	"testing"
	"time"

	"statusworker/schema"
)

// where checks the state of a snapshot: it has ended only if an outcome is stored and nothing goes on, and it is
// unknown only if nothing is stored from which a worker continues.
func (w *walk) where(s Snapshot) {
	p := s.Where()
	processed := slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return counts(o) && o.Destination != "" })
	failed := slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return o.Reason != "" && !o.Generation.IsZero() })
	polls := goesOn(s.Reservation, s.Outcomes) || goesOn(s.Due, s.Outcomes) && (s.Reservation == nil ||
		!s.Reservation.Tombstone)
	begins := false
	if s.Declared != nil && !s.Declared.Invalid {
		verdict, _ := s.TakeIn(*s.Declared)
		begins = verdict == Reserve || verdict == Wait
	}
	switch {
	case processed != (p.State == StateProcessed):
		w.fail(s, "state %s; a processed event is stored: %t", p.State, processed)
	case p.State.Ended() != (p.Outcome != nil):
		w.fail(s, "state %s with the outcome %+v", p.State, p.Outcome)
	case p.State == StateDeadLettered && !failed:
		w.fail(s, "state %s without a dead letter", p.State)
	case polls && !processed && p.State != StateWaiting && p.State != StateDue:
		w.fail(s, "state %s, although a message goes on", p.State)
	case (p.State == StateWaiting || p.State == StateDue) && (p.By == nil || p.By.Tombstone):
		w.fail(s, "state %s by %+v", p.State, p.By)
	case begins && (p.State == StateDeadLettered || p.State == StateUnknown):
		w.fail(s, "state %s, although the declared message begins a generation", p.State)
	case p.State == StateUnknown && (failed || s.Declared != nil && s.Declared.Invalid):
		w.fail(s, "state %s, although a message is stored", p.State)
	case p.State != StateUnknown && p.Generation.IsZero():
		w.fail(s, "state %s without a generation", p.State)
	}
}

func TestWhere(t *testing.T) {
	t.Parallel()
	reserved := func(generation time.Time, number uint64) *Reserved {
		return &Reserved{Position: Position{generation, number}, Stored: generation.Add(time.Hour), Due: at(100)}
	}
	tombstone := func(generation time.Time) *Reserved {
		r := reserved(generation, 9)
		r.Tombstone = true
		return r
	}
	invalid := dead(at(20), at(21), schema.InvalidMessage)
	for name, tt := range map[string]struct {
		s          Snapshot
		state      State
		generation time.Time
		polls      uint64
	}{
		"nothing":     {Snapshot{}, StateUnknown, time.Time{}, 0},
		"a tombstone": {Snapshot{Reservation: tombstone(at(10))}, StateUnknown, at(10), 0},
		"declared":    {Snapshot{Declared: &Declared{Stored: at(10)}}, StateDeclared, at(10), 0},
		"with a nak":  {Snapshot{Declared: &Declared{Stored: at(10), Delivered: true}}, StateWaiting, at(10), 0},
		"invalid":     {Snapshot{Declared: &Declared{Stored: at(10), Invalid: true}}, StateDeclared, at(10), 0},
		"first waits": {Snapshot{Reservation: reserved(at(10), 1)}, StateWaiting, at(10), 0},
		"waits":       {Snapshot{Reservation: reserved(at(10), 4)}, StateWaiting, at(10), 3},
		"due":         {Snapshot{Due: reserved(at(10), 4)}, StateDue, at(10), 3},
		"being reserved": {
			Snapshot{Due: reserved(at(10), 4), Reservation: reserved(at(10), 5)}, StateDue, at(10), 3,
		},
		"a stale due message": {
			Snapshot{Due: reserved(at(10), 4), Reservation: reserved(at(20), 1)}, StateWaiting, at(20), 0,
		},
		"a stale due message, and a tombstone": {
			Snapshot{Due: reserved(at(10), 4), Reservation: tombstone(at(10))}, StateUnknown, at(10), 0,
		},
		"being taken in": {
			Snapshot{Declared: &Declared{Stored: at(10)}, Reservation: reserved(at(10), 1)}, StateWaiting, at(10), 0,
		},
		"declared twice": {
			Snapshot{Declared: &Declared{Stored: at(20)}, Reservation: reserved(at(10), 3)}, StateWaiting, at(10), 2,
		},
		"processed": {
			Snapshot{Reservation: reserved(at(10), 3), Declared: &Declared{Stored: at(20)},
				Outcomes: []Outcome{event(at(10), at(12), schema.ToCXAI)}}, StateProcessed, at(10), 0,
		},
		"dead-lettered, and its reservation is not a tombstone yet": {
			Snapshot{Reservation: reserved(at(10), 3), Outcomes: []Outcome{dead(at(10), at(12), schema.NotFound)}},
			StateDeadLettered, at(10), 0,
		},
		"dead-lettered twice": {
			Snapshot{Outcomes: []Outcome{dead(at(20), at(22), schema.Rejected), dead(at(10), at(12), schema.NotFound)}},
			StateDeadLettered, at(20), 0,
		},
		"declared again, after a dead letter": {
			Snapshot{Declared: &Declared{Stored: at(20)}, Reservation: tombstone(at(10)),
				Outcomes: []Outcome{dead(at(10), at(12), schema.NotFound)}}, StateDeclared, at(20), 0,
		},
		"polled again, after a dead letter": {
			Snapshot{Due: reserved(at(20), 2), Outcomes: []Outcome{dead(at(10), at(12), schema.NotFound)}},
			StateDue, at(20), 1,
		},
		"declared before its dead letter": {
			Snapshot{Declared: &Declared{Stored: at(11)}, Outcomes: []Outcome{dead(at(10), at(12), schema.NotFound)}},
			StateDeadLettered, at(10), 0,
		},
		"only an invalid message": {Snapshot{Outcomes: []Outcome{invalid}}, StateDeadLettered, at(20), 0},
		"an invalid message, and a valid one": {
			Snapshot{Reservation: reserved(at(10), 2), Outcomes: []Outcome{invalid}}, StateWaiting, at(10), 1,
		},
		"an invalid message after a dead letter": {
			Snapshot{Outcomes: []Outcome{invalid, dead(at(10), at(12), schema.NotFound)}}, StateDeadLettered, at(10), 0,
		},
		"a foreign due message": {Snapshot{Due: &Reserved{Stored: at(10)}}, StateDue, at(10), 0},
		"a foreign event": {
			Snapshot{Outcomes: []Outcome{event(time.Time{}, at(12), schema.ToCXAI)}}, StateUnknown, time.Time{}, 0,
		},
	} {
		p := tt.s.Where()
		if p.State != tt.state || !p.Generation.Equal(tt.generation) || p.Polls != tt.polls {
			t.Errorf("%s: %s of generation %s after %d polls, want %s of %s after %d", name, p.State, p.Generation,
				p.Polls, tt.state, tt.generation, tt.polls)
		}
	}
}
