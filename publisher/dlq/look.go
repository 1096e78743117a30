package dlq

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// gone says that a dead letter is not stored any more. It stands beside the verdicts of the life cycle.
const gone lifecycle.Replay = "gone"

// look loads what is stored of a dead letter's interaction, in the order in which an interaction moves, and asks what that means
// for a replay. The text says what was found.
func (d *Queue) look(ctx context.Context, l DeadLetter) (lifecycle.Replay, string, error) {
	subject := schema.DeclaredSubjects(l.Identifier)
	if l.Reason == schema.InvalidMessage {
		subject = l.Source.Subject
	}
	var s lifecycle.Snapshot
	declared, err := d.last(ctx, d.declared, subject)
	if err != nil {
		return "", "", err
	}
	if declared != nil {
		_, problem := schema.DecodeFrom(declared.Subject, declared.Data)
		s.Declared = &lifecycle.Declared{Subject: declared.Subject, Stored: declared.Time, Invalid: problem != nil}
	}
	if d.polls != nil {
		if err := d.waiting(ctx, l.Identifier, &s); err != nil {
			return "", "", err
		}
	}
	verdict, by := s.Replay(l.outcome())
	switch {
	case verdict == lifecycle.Declare:
		return d.beside(ctx, l)
	case verdict == lifecycle.Ending && by == nil:
		return verdict, "a message on " + s.Declared.Subject + " waits to be taken in", nil
	case verdict == lifecycle.Ending:
		return verdict, "a last poll of it is still to be made", nil
	case by == nil:
		return verdict, "declared again at " + stamp(s.Declared.Stored), nil
	case by.Foreign():
		return verdict, "polled since, declared at " + stamp(by.Stored), nil
	}
	return verdict, "polled since, declared at " + stamp(by.Generation), nil
}

// waiting reads what is stored of an interaction among the polls. One read is for both places, because an interaction goes to and
// fro between them; behind a tombstone may be a stale copy of the last due message.
func (d *Queue) waiting(ctx context.Context, identifier string, s *lifecycle.Snapshot) error {
	for _, subjects := range []string{schema.WaitingSubjects(identifier), schema.PollSubjects(identifier)} {
		m, err := d.last(ctx, d.polls, subjects)
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
		Subject: l.Subject, Sequence: l.Sequence, Stored: l.Stored, Reason: l.Reason, Generation: l.Source.Stored, Source: l.Source.Subject,
	}
}

// beside asks what the outcomes mean that were stored after the dead letter.
func (d *Queue) beside(ctx context.Context, l DeadLetter) (lifecycle.Replay, string, error) {
	all := schema.OutcomeSubjects(l.Identifier)
	m, err := d.last(ctx, d.outcomes, all)
	if err != nil {
		return "", "", err
	}
	if m != nil && m.Sequence == l.Sequence {
		return lifecycle.Declare, "", nil // it is the last one
	}
	for from := l.Sequence; ; from = m.Sequence + 1 {
		m, err = d.message(ctx, d.outcomes, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return d.outcomes.GetMsg(ctx, from, jetstream.WithGetMsgSubject(all))
		})
		switch {
		case err != nil:
			return "", "", err
		case from == l.Sequence && (m == nil || m.Sequence != from):
			return gone, "", nil
		case m == nil:
			return lifecycle.Declare, "", nil
		case m.Sequence == l.Sequence:
			continue
		}
		found := fmt.Sprintf("%s at %s", m.Subject, stamp(m.Time))
		switch verdict := lifecycle.ReadOutcome(m.Subject, m.Sequence, m.Time, m.Data).ReplayBeside(l.outcome()); verdict {
		case lifecycle.Unclear:
			return verdict, "what is stored as " + found + " is no event of this stage: look at it, and delete it if it should not be there", nil
		case lifecycle.Later:
			return verdict, found, nil
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
