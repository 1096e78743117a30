package dlq

import (
	"context"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// gone says that a dead letter is not stored any more. It stands beside the verdicts of the life cycle.
const gone lifecycle.Replay = "gone"

// finding is what a look found, and what it means for a replay.
type finding struct {
	verdict lifecycle.Replay
	why     Why
	by      Stored
}

// look loads what is stored of a dead letter's interaction, in the order in which an interaction moves, and asks what
// that means for a replay.
func (d *Queue) look(ctx context.Context, l DeadLetter) (finding, error) {
	subject := schema.DeclaredSubjects(l.Identifier)
	if l.Reason == schema.InvalidMessage {
		subject = l.Source.Subject
	}
	var s lifecycle.Snapshot
	declared, err := d.last(ctx, schema.StreamDeclared, subject)
	if err != nil {
		return finding{}, err
	}
	if declared != nil {
		_, problem := schema.DecodeFrom(declared.Subject, declared.Data)
		s.Declared = &lifecycle.Declared{Subject: declared.Subject, Stored: declared.Time, Invalid: problem != nil}
	}
	if d.polls {
		if err := d.waiting(ctx, l.Identifier, &s); err != nil {
			return finding{}, err
		}
	}
	verdict, by := s.Replay(l.outcome())
	switch {
	case verdict == lifecycle.Declare:
		return d.beside(ctx, l)
	case by == nil && verdict == lifecycle.Ending:
		return finding{verdict, NotTakenIn, Stored{declared.Subject, declared.Time}}, nil
	case by == nil:
		return finding{verdict, DeclaredAgain, Stored{declared.Subject, declared.Time}}, nil
	}
	generation := by.Generation
	if by.Foreign() {
		generation = by.Stored
	}
	if verdict == lifecycle.Ending {
		return finding{verdict, PollPending, Stored{Time: generation}}, nil
	}
	return finding{verdict, PolledSince, Stored{Time: generation}}, nil
}

// waiting reads what is stored of an interaction among the polls. One read is for both places, because an interaction
// goes to and fro between them; behind a tombstone may be a stale copy of the last due message.
func (d *Queue) waiting(ctx context.Context, identifier string, s *lifecycle.Snapshot) error {
	for _, subjects := range []string{schema.WaitingSubjects(identifier), schema.PollSubjects(identifier)} {
		m, err := d.last(ctx, schema.StreamPolls, subjects)
		if err != nil || m == nil {
			return err
		}
		r := lifecycle.ReadReserved(m.Header, m.Sequence, m.Time)
		if schema.IsPollSubject(m.Subject) {
			s.Due = &r
			return nil
		}
		if s.Reservation = &r; !r.Tombstone {
			return nil
		}
	}
	return nil
}

// outcome is the dead letter as the life cycle knows it.
func (l DeadLetter) outcome() lifecycle.Outcome {
	return lifecycle.Outcome{
		Subject: l.Subject, Sequence: l.Sequence, Stored: l.Stored, Reason: l.Reason, Generation: l.Source.Stored,
		Source: l.Source.Subject,
	}
}

// beside asks what the outcomes mean that were stored after the dead letter.
func (d *Queue) beside(ctx context.Context, l DeadLetter) (finding, error) {
	all := schema.OutcomeSubjects(l.Identifier)
	m, err := d.last(ctx, schema.StreamOutcomes, all)
	if err != nil {
		return finding{}, err
	}
	if m != nil && m.Sequence == l.Sequence {
		return finding{verdict: lifecycle.Declare}, nil // it is the last one
	}
	for from := l.Sequence; ; from = m.Sequence + 1 {
		m, err = d.message(ctx, func(ctx context.Context) (broker.Message, error) {
			return d.broker.Next(ctx, schema.StreamOutcomes, all, from)
		})
		switch {
		case err != nil:
			return finding{}, err
		case from == l.Sequence && (m == nil || m.Sequence != from):
			return finding{verdict: gone}, nil
		case m == nil:
			return finding{verdict: lifecycle.Declare}, nil
		case m.Sequence == l.Sequence:
			continue
		}
		stored := Stored{m.Subject, m.Time}
		switch verdict := lifecycle.ReadOutcome(m.Subject, m.Sequence, m.Time, m.Data).ReplayBeside(l.outcome()); verdict {
		case lifecycle.Unclear:
			return finding{verdict, NoOutcome, stored}, nil
		case lifecycle.Later:
			return finding{verdict, EndedSince, stored}, nil
		}
	}
}
