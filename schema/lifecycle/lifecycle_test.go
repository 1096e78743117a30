package lifecycle

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"statusworker/schema"
)

// walk counts snapshots and events.
type walk struct {
	t                 *testing.T
	snapshots, events int
}

// The promises hold for every snapshot of the domain with every event.
func TestEverySnapshot(t *testing.T) {
	w := &walk{t: t}
	declared := []*Declared{
		nil,
		{Stored: at(10)},
		{Stored: at(20)},
		{Stored: at(34)},
		{Stored: at(10), Invalid: true},
		{Stored: at(34), Invalid: true},
	}
	due := reservedOptions(1)
	for _, outcomes := range outcomeOptions() {
		for _, reservation := range reservedOptions(1, 2) {
			for _, fired := range due {
				for _, d := range declared {
					s := Snapshot{Declared: d, Reservation: reservation, Due: fired, Outcomes: outcomes}
					w.snapshots++
					w.takeIn(s)
					w.replay(s)
					w.where(s)
				}
			}
			w.due(Snapshot{Reservation: reservation, Outcomes: outcomes})
		}
		w.publish(Snapshot{Outcomes: outcomes})
		if t.Failed() {
			return
		}
	}
	figure(t, fmt.Sprintf("lifecycle snapshots=%d events=%d", w.snapshots, w.events))
}

// figure logs a figure, and appends it to the file of figures.
func figure(t *testing.T, line string) {
	t.Helper()
	t.Log(line)
	if name := os.Getenv("STATUSWORKER_TEST_FIGURES"); name != "" {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		_, _ = fmt.Fprintln(f, line)
	}
}

func (w *walk) fail(s Snapshot, format string, args ...any) {
	w.t.Helper()
	w.t.Errorf(
		"%s\nreservation %+v\ndue %+v\ndeclared %+v\noutcomes %+v",
		fmt.Sprintf(format, args...),
		s.Reservation,
		s.Due,
		s.Declared,
		s.Outcomes,
	)
}

// counts reports whether a stored message is an outcome of the interaction.
func counts(o Outcome) bool { return o.Reason != schema.InvalidMessage && !o.Generation.IsZero() }

// without removes the messages that must not matter: dead letters of invalid messages, and foreign dead letters.
func without(s Snapshot) Snapshot {
	s.Outcomes = slices.DeleteFunc(
		slices.Clone(s.Outcomes),
		func(o Outcome) bool { return o.Reason != "" && !counts(o) },
	)
	return s
}

// of reports whether a message of a generation is stored.
func (s Snapshot) of(generation time.Time) bool {
	return s.Reservation != nil && s.Reservation.Generation.Equal(generation) ||
		s.Due != nil && s.Due.Generation.Equal(generation) ||
		slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return counts(o) && o.Generation.Equal(generation) })
}

// goesOn reports whether a message in the polls stream leads to another poll, judged by the outcomes.
func goesOn(r *Reserved, outcomes []Outcome) bool {
	return r != nil && !r.Tombstone && !r.Generation.IsZero() && !slices.ContainsFunc(outcomes, func(o Outcome) bool {
		return counts(o) && o.Reason != "" &&
			(!o.Generation.Before(r.Generation) || !o.Stored.Before(r.Generation) && o.Generation.After(r.Replays))
	})
}
