package dlq

import (
	"context"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// deleted is a verdict in addition to those of lifecycle: the dead letter is not stored any more.
const deleted lifecycle.Replay = "deleted"

// finding is a verdict on a replay, and the stored message that it is based on.
type finding struct {
	verdict lifecycle.Replay
	cause   Cause
	by      Stored
}

// inspect reads the stored messages of a dead letter's interaction, in the order in which an interaction passes through
// the streams, and returns the verdict on a replay.
func (d *Queue) inspect(ctx context.Context, l DeadLetter) (finding, error) {
	f, err := d.pending(ctx, l)
	if err != nil || f.verdict != lifecycle.Declare {
		return f, err
	}
	return d.beside(ctx, l)
}

// pending returns the verdict on a replay by what waits: the declared message, the reservation and the due message.
func (d *Queue) pending(ctx context.Context, l DeadLetter) (finding, error) {
	subject := d.names.DeclaredSubjects(l.Identifier)
	if l.Reason == schema.InvalidMessage {
		subject = l.Source.Subject
	}
	var s lifecycle.Snapshot
	declared, err := d.last(ctx, d.names.StreamDeclared(), subject)
	if err != nil {
		return finding{}, err
	}
	if declared != nil {
		_, problem := d.names.DecodeFrom(declared.Subject, declared.Data)
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
		return finding{verdict: verdict}, nil
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

// unacknowledged returns the verdict Ending if the invalid message of a dead letter is still stored.
func (d *Queue) unacknowledged(ctx context.Context, l DeadLetter) (finding, error) {
	m, err := d.last(ctx, d.names.StreamDeclared(), l.Source.Subject)
	if err != nil || m == nil || !m.Time.Equal(l.Source.Stored) {
		return finding{}, err
	}
	return finding{lifecycle.Ending, NotTakenIn, Stored{m.Subject, m.Time}}, nil
}

// waiting reads the reservation and the due message of an interaction. The first read is of both, because an
// interaction alternates between them. In addition to a tombstone there may be a stale due message.
func (d *Queue) waiting(ctx context.Context, identifier string, s *lifecycle.Snapshot) error {
	for _, subjects := range []string{d.names.WaitingSubjects(identifier), d.names.PollSubjects(identifier)} {
		m, err := d.last(ctx, d.names.StreamPolls(), subjects)
		if err != nil || m == nil {
			return err
		}
		r := lifecycle.ReadReserved(m.Header, m.Sequence, m.Time)
		if d.names.IsPollSubject(m.Subject) {
			s.Due, err = d.due(ctx, identifier, r)
			return err
		}
		if s.Reservation = &r; !r.Tombstone {
			return nil
		}
	}
	return nil
}

// due returns the last due message of an interaction, or an earlier one, if the last one is a tombstone and the earlier
// one is not: NATS has lost the acknowledgement of that poll, and will deliver its message again.
func (d *Queue) due(ctx context.Context, identifier string, last lifecycle.Reserved) (*lifecycle.Reserved, error) {
	for from := uint64(1); last.Tombstone && from < last.Sequence; {
		m, err := d.message(ctx, func(ctx context.Context) (broker.Message, error) {
			return d.broker.Next(ctx, d.names.StreamPolls(), d.names.PollSubjects(identifier), from)
		})
		if err != nil || m == nil {
			return &last, err
		}
		if r := lifecycle.ReadReserved(m.Header, m.Sequence, m.Time); !r.Tombstone {
			return &r, nil
		}
		from = m.Sequence + 1
	}
	return &last, nil
}

// outcome returns the dead letter as lifecycle uses it.
func (l DeadLetter) outcome() lifecycle.Outcome {
	return lifecycle.Outcome{
		Subject: l.Subject, Sequence: l.Sequence, Stored: l.Stored, Reason: l.Reason, Generation: l.Source.Stored,
		Source: l.Source.Subject,
	}
}

// beside returns the verdict on a replay by the outcomes that were stored after the dead letter.
func (d *Queue) beside(ctx context.Context, l DeadLetter) (finding, error) {
	all := d.names.OutcomeSubjects(l.Identifier)
	m, err := d.last(ctx, d.names.StreamOutcomes(), all)
	if err != nil {
		return finding{}, err
	}
	if m != nil && m.Sequence == l.Sequence {
		return finding{verdict: lifecycle.Declare}, nil // there is no later outcome
	}
	for from := l.Sequence; ; from = m.Sequence + 1 {
		m, err = d.message(ctx, func(ctx context.Context) (broker.Message, error) {
			return d.broker.Next(ctx, d.names.StreamOutcomes(), all, from)
		})
		switch {
		case err != nil:
			return finding{}, err
		case from == l.Sequence && (m == nil || m.Sequence != from):
			return finding{verdict: deleted}, nil
		case m == nil:
			return finding{verdict: lifecycle.Declare}, nil
		case m.Sequence == l.Sequence:
			continue
		}
		stored := Stored{m.Subject, m.Time}
		other := lifecycle.ReadOutcome(d.names, m.Subject, m.Sequence, m.Time, m.Data)
		switch verdict := other.ReplayBeside(l.outcome()); verdict {
		case lifecycle.Unclear:
			return finding{verdict, NoOutcome, stored}, nil
		case lifecycle.Later:
			return finding{verdict, EndedSince, stored}, nil
		}
	}
}
