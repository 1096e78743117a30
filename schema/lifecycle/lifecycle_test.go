package lifecycle

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"statusworker/schema"
)

// Times of the walk: three generations, and moments between and after them.
var (
	epoch       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	generations = []time.Time{at(10), at(20), at(30)}
)

func at(hours int) time.Time { return epoch.Add(time.Duration(hours) * time.Hour) }

// reservedOptions are all messages that may lie in the place of a reservation or of a due message.
func reservedOptions(numbers ...uint64) []*Reserved {
	all := []*Reserved{nil, {Sequence: 1, Stored: at(25)}}
	for _, g := range generations {
		for _, n := range numbers {
			for _, tombstone := range []bool{false, true} {
				all = append(all, &Reserved{
					Position: Position{
						Generation: g,
						Number:     n,
					},
					Sequence:  1,
					Stored:    g.Add(time.Hour),
					Due:       g.Add(2 * time.Hour),
					Tombstone: tombstone,
				})
			}
		}
	}
	return all
}

func dead(generation, stored time.Time, r schema.Reason) Outcome {
	return Outcome{
		Subject: schema.FailedSubject(
			r,
			"i",
		),
		Stored:     stored,
		Reason:     r,
		Generation: generation,
		Source:     schema.DeclaredSubject(schema.Chat, "i"),
	}
}

func event(generation, stored time.Time, d schema.Destination) Outcome {
	return Outcome{Subject: schema.ProcessedSubject(d, "i"), Stored: stored, Destination: d, Generation: generation}
}

// outcomeOptions are all sets of outcomes: of each generation none, a dead letter before or after the next generation
// was declared, one processed event or both; and with them nothing, or what does not count.
func outcomeOptions() [][]Outcome {
	sets := [][]Outcome{
		nil,
		{
			{Subject: schema.ProcessedSubject(schema.Unrouted, "i"), Stored: at(12), Destination: schema.Unrouted},
		},
		{
			dead(
				at(15),
				at(16),
				schema.InvalidMessage,
			),
			{Subject: schema.FailedSubject(schema.NotFound, "i"), Stored: at(40), Reason: schema.NotFound},
		},
	}
	for _, g := range generations {
		var next [][]Outcome
		for _, with := range sets {
			for _, of := range [][]Outcome{
				nil,
				{dead(g, g.Add(5*time.Hour), schema.Rejected)},
				{dead(g, g.Add(15*time.Hour), schema.Rejected)},
				{event(g, g.Add(5*time.Hour), schema.ToTranscript)},
				{event(g, g.Add(5*time.Hour), schema.ToTranscript), event(g, g.Add(5*time.Hour), schema.ToCXAI)},
			} {
				next = append(next, slices.Concat(with, of))
			}
		}
		sets = next
	}
	for _, set := range sets {
		for i := range set {
			set[i].Sequence = uint64(i + 1)
		}
	}
	return sets
}

// walk counts what it was given.
type walk struct {
	t                 *testing.T
	snapshots, events int
}

// Every snapshot of the domain meets every event, and the promises hold.
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

// figure logs a figure, and adds it to the file that collects them.
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

// counts tells whether an outcome is one of the interaction.
func counts(o Outcome) bool { return o.Reason != schema.InvalidMessage && !o.Generation.IsZero() }

// without leaves out what is no outcome: dead letters of invalid messages, and those that this stage did not store.
func without(s Snapshot) Snapshot {
	s.Outcomes = slices.DeleteFunc(
		slices.Clone(s.Outcomes),
		func(o Outcome) bool { return o.Reason != "" && !counts(o) },
	)
	return s
}

// of tells whether something of a generation is stored.
func (s Snapshot) of(generation time.Time) bool {
	return s.Reservation != nil && s.Reservation.Generation.Equal(generation) ||
		s.Due != nil && s.Due.Generation.Equal(generation) ||
		slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return counts(o) && o.Generation.Equal(generation) })
}

// goesOn tells whether a message in the polls stream leads to another poll, as far as outcomes tell.
func goesOn(r *Reserved, outcomes []Outcome) bool {
	return r != nil && !r.Tombstone && !r.Generation.IsZero() && !slices.ContainsFunc(outcomes, func(o Outcome) bool {
		return counts(o) && o.Reason != "" && !o.Generation.Before(r.Generation)
	})
}

func (w *walk) takeIn(s Snapshot) {
	for _, stored := range []time.Time{at(10), at(17), at(20), at(30), at(50)} {
		for _, replays := range []time.Time{{}, at(10), at(20)} {
			if !replays.Before(stored) {
				continue
			}
			w.events++
			d := Declared{Stored: stored, Replays: replays}
			verdict, until := s.TakeIn(d)
			if again, _ := without(s).TakeIn(d); again != verdict {
				w.fail(s, "a message of %v: %s, and %s without what is no outcome", stored, verdict, again)
			}
			if own := s.of(stored); own != (verdict == TakenIn) {
				w.fail(s, "a message of %v: %s, and something of it is stored: %t", stored, verdict, own)
			}
			switch verdict {
			case TakenIn, Twice, Processed:
				w.covered(s, d, verdict)
			case Reserve, ReserveBesideDue:
				w.mayBegin(s, d, verdict)
			case Wait:
				if s.Reservation == nil || s.Reservation.Foreign() || until != s.Reservation.Due {
					w.fail(s, "a message of %v waits until %v for no reservation", stored, until)
					continue
				}
				// The reservation fires: the message does not wait for ever.
				fired := s
				fired.Reservation, fired.Due = nil, s.Reservation
				if next, _ := fired.TakeIn(d); next == Wait || next == Foreign {
					w.fail(s, "a message of %v: %s, and %s when the reservation has fired", stored, verdict, next)
				}
			case Foreign:
				if s.Reservation == nil || !s.Reservation.Foreign() {
					w.fail(s, "nothing foreign, and the verdict is %s", verdict)
				}
			default:
				w.fail(s, "unknown verdict %q", verdict)
			}
		}
	}
}

// covered checks that a declared message is not needed: its generation is stored elsewhere, or it begins none.
func (w *walk) covered(s Snapshot, d Declared, verdict TakeIn) {
	for _, o := range s.Outcomes {
		if counts(o) &&
			(o.Generation.Equal(d.Stored) || o.Destination != "" || !o.Stored.Before(d.Stored) && o.Generation.After(d.Replays)) {
			return
		}
	}
	for _, r := range []*Reserved{s.Reservation, s.Due} {
		if r != nil && (r.Generation.Equal(d.Stored) || goesOn(r, s.Outcomes) && !r.Generation.Equal(d.Replays)) {
			return
		}
	}
	if s.Declared != nil && !s.Declared.Invalid && s.Declared.Stored.Before(d.Stored) {
		if next, _ := (Snapshot{Reservation: s.Reservation, Due: s.Due, Outcomes: s.Outcomes, Declared: s.Declared}).TakeIn(
			*s.Declared,
		); next == Reserve ||
			next == ReserveBesideDue {
			return
		}
	}
	w.fail(
		s,
		"a message of %v that replays %v is acknowledged (%s), and nothing else stands for it",
		d.Stored,
		d.Replays,
		verdict,
	)
}

// mayBegin checks that a generation begins only where the one before has ended in a dead letter that was stored before.
func (w *walk) mayBegin(s Snapshot, d Declared, verdict TakeIn) {
	if s.Reservation != nil || (s.Due != nil) != (verdict == ReserveBesideDue) {
		w.fail(s, "%s of %v would be a second reservation", verdict, d.Stored)
	}
	if goesOn(s.Due, s.Outcomes) && !s.Due.Generation.Equal(d.Replays) {
		w.fail(s, "%s of %v beside a poll that is due", verdict, d.Stored)
	}
	for _, o := range s.Outcomes {
		if counts(o) &&
			(o.Generation.Equal(d.Stored) || o.Destination != "" || o.Generation.After(d.Replays) && !o.Stored.Before(d.Stored)) {
			w.fail(s, "%s of %v after %+v", verdict, d.Stored, o)
		}
	}
}

// due: a reservation was refused. Nobody drops the poll unless a later one is stored.
func (w *walk) due(s Snapshot) {
	for _, g := range generations {
		for _, n := range []uint64{0, 1, 2} {
			w.events++
			p := Position{Generation: g, Number: n}
			later := s.Reservation != nil &&
				(s.Reservation.Generation.After(g) || s.Reservation.Generation.Equal(g) && s.Reservation.Number > n)
			if s.Taken(p) != later {
				w.fail(s, "taken is %t for poll %d of %v", s.Taken(p), n, g)
			}
		}
		w.events++
		if r := s.Reservation; r != nil && r.EndedBy(g) && (r.Tombstone || !r.Generation.Equal(g)) {
			w.fail(s, "it ends with generation %v", g)
		}
	}
}

func (w *walk) publish(s Snapshot) {
	chat := func(g time.Time) schema.Outcome {
		return schema.Outcome{
			Identifier: "i",
			Type:       schema.Audio,
			Origin:     schema.Origin{Stored: g, Subject: schema.DeclaredSubject(schema.Chat, "i")},
		}
	}
	for _, g := range append([]time.Time{at(15)}, generations...) {
		rejected, notFound, transcript, cxai, unrouted, invalid := chat(g), chat(g), chat(g), chat(g), chat(g), chat(g)
		rejected.Reason, notFound.Reason, invalid.Reason = schema.Rejected, schema.NotFound, schema.InvalidMessage
		transcript.Destination, cxai.Destination, unrouted.Destination = schema.ToTranscript, schema.ToCXAI, schema.Unrouted
		for _, wanted := range [][]schema.Outcome{{rejected}, {notFound}, {transcript, cxai}, {cxai}, {unrouted}, {invalid}} {
			w.events++
			w.plan(s, wanted)
		}
	}
}

func (w *walk) plan(s Snapshot, wanted []schema.Outcome) {
	w.t.Helper()
	plan := s.Publish(wanted...)
	var last uint64
	for _, o := range s.Outcomes {
		last = max(last, o.Sequence)
	}
	if plan.Expected != last && plan.Verdict == Store {
		w.fail(s, "it expects %d, want %d", plan.Expected, last)
	}
	if len(plan.Missing) > 0 != (plan.Verdict == Store) {
		w.fail(s, "%s with %d missing", plan.Verdict, len(plan.Missing))
	}
	g := wanted[0].Origin.Stored
	if wanted[0].Reason != schema.InvalidMessage {
		if again := without(
			s,
		).Publish(
			wanted...); again.Verdict != plan.Verdict ||
			len(again.Missing) != len(plan.Missing) {
			w.fail(s, "%s, and %s without what is no outcome", plan.Verdict, again.Verdict)
		}
		w.halfSuccess(s, wanted, plan)
	}
	switch plan.Verdict {
	case Store:
		for _, o := range plan.Missing {
			if slices.ContainsFunc(s.Outcomes, func(stored Outcome) bool {
				return o.Destination != "" && stored.Destination == o.Destination && stored.Generation.IsZero()
			}) {
				w.fail(s, "%s is stored a second time", o.Subject())
			}
		}
		after := s
		after.Outcomes = slices.Clone(s.Outcomes)
		for i, o := range plan.Missing {
			after.Outcomes = append(after.Outcomes, Outcome{
				Subject:     o.Subject(),
				Sequence:    last + uint64(i) + 1,
				Stored:      at(60),
				Destination: o.Destination,
				Reason:      o.Reason,
				Generation:  o.Origin.Stored,
				Source:      o.Origin.Subject,
			})
		}
		w.oneOutcome(s, after, wanted[0])
		if again := after.Publish(wanted...); again.Verdict != Stored {
			w.fail(after, "stored, and then %s", again.Verdict)
		}
	case Stored:
		for _, o := range wanted {
			if !slices.ContainsFunc(s.Outcomes, func(stored Outcome) bool {
				return stored.Subject == o.Subject() && (!o.Failed() || !stored.Generation.Before(g))
			}) {
				w.fail(s, "%s is taken to be stored", o.Subject())
			}
		}
	case Contradicted, Superseded:
		if plan.By.Subject == "" || wanted[0].Reason == schema.InvalidMessage {
			w.fail(s, "%s by %+v", plan.Verdict, plan.By)
		}
	default:
		w.fail(s, "unknown verdict %q", plan.Verdict)
	}
	if len(s.Outcomes) == 0 && plan.Verdict != Store {
		w.fail(s, "nothing is stored, and the verdict is %s", plan.Verdict)
	}
}

// halfSuccess checks that a generation with one of its processed events gets the other one, whatever else is stored.
func (w *walk) halfSuccess(s Snapshot, wanted []schema.Outcome, plan Plan) {
	g := wanted[0].Origin.Stored
	half := w.half(s, g)
	own := slices.ContainsFunc(
		s.Outcomes,
		func(o Outcome) bool { return counts(o) && o.Reason != "" && o.Generation.Equal(g) },
	)
	if plan.HalfSuccess != (half && wanted[0].Failed()) {
		w.fail(s, "half a success is %t for %s", plan.HalfSuccess, wanted[0].Subject())
	}
	if half && !wanted[0].Failed() && !own && plan.Verdict != Store && plan.Verdict != Stored {
		w.fail(s, "%s where half of a success is stored", plan.Verdict)
	}
}

// oneOutcome checks that what is stored anew gives its generation no second outcome, and begins none after processed
// events of another one.
func (w *walk) oneOutcome(before, after Snapshot, wanted schema.Outcome) {
	g := wanted.Origin.Stored
	if wanted.Reason == schema.InvalidMessage {
		return
	}
	for _, o := range before.Outcomes {
		switch {
		case !counts(o):
		case o.Generation.Equal(g) && (wanted.Failed() || o.Reason != ""):
			w.fail(after, "a second outcome %s of generation %v", wanted.Subject(), g)
		case o.Generation.After(g) && o.Reason != "" && !w.half(before, g):
			w.fail(after, "generation %v ends after a later one", g)
		case !o.Generation.Equal(g) && o.Destination != "" && !w.half(before, g):
			w.fail(after, "generation %v ends after another was processed", g)
		}
	}
}

// half tells whether a generation has one of its processed events: then it may always have the other.
func (w *walk) half(s Snapshot, g time.Time) bool {
	return slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return o.Destination != "" && o.Generation.Equal(g) })
}

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
				w.fail(s, "%s beside a later outcome %+v", v, o)
			}
		}
		switch verdict {
		case Declare:
			if s.Declared != nil || goesOn(s.Reservation, nil) && !letter.invalid() ||
				goesOn(s.Due, nil) && !letter.invalid() {
				w.fail(s, "replayed while the interaction is polled, or declared")
			}
			if letter.invalid() || beside != Declare || s.processed() ||
				s.Reservation != nil && s.Reservation.Foreign() ||
				s.Due != nil && s.Due.Foreign() {
				continue
			}
			// What is declared then begins a generation, also when the dead letter is deleted before it is taken in.
			for _, outcomes := range [][]Outcome{s.Outcomes, slices.DeleteFunc(slices.Clone(s.Outcomes), func(o Outcome) bool { return o.Subject == letter.Subject })} {
				again := s
				again.Outcomes = outcomes
				if v, _ := again.TakeIn(
					Declared{Stored: at(100), Replays: letter.Generation},
				); v != Reserve && v != ReserveBesideDue &&
					v != Wait {
					w.fail(again, "replayed, and then %s", v)
				}
			}
		case Later:
			if by == nil && s.Declared == nil {
				w.fail(s, "superseded by nothing")
			}
		case Ending:
			if s.Declared == nil && s.Reservation == nil && s.Due == nil {
				w.fail(s, "nothing is ending")
			}
		default:
			w.fail(s, "unknown verdict %q", verdict)
		}
	}
}

// replayed checks what a verdict on a replay goes by.
func (w *walk) replayed(s Snapshot, letter Outcome, verdict Replay, by *Reserved) {
	d, invalid := s.Declared, letter.Reason == schema.InvalidMessage
	// A message that begins nothing keeps the declared subject until it is acknowledged.
	waits := d != nil &&
		(invalid && !d.Stored.After(letter.Generation) || !invalid && (d.Invalid || !d.Stored.After(letter.Stored)))
	later := func(r *Reserved) bool {
		return r != nil &&
			(r.Generation.After(letter.Generation) || r.Generation.IsZero() && r.Stored.After(letter.Generation))
	}
	switch {
	case waits != (verdict == Ending && by == nil):
		w.fail(s, "%s by %+v, and a message that begins nothing waits: %t", verdict, by, waits)
	case verdict == Later && by != nil && !later(by), verdict == Ending && later(by):
		w.fail(s, "%s by %+v", verdict, by)
	case !waits && later(s.Reservation) && verdict != Later:
		w.fail(s, "%s beside a later reservation", verdict)
	case verdict == Declare && later(s.Due):
		w.fail(s, "%s beside a later due message", verdict)
	}
}
