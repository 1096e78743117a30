package dlq

import (
	"fmt"
	"time"

	"statusworker/schema"
)

// DeadLetter is a dead letter, with where it is stored.
type DeadLetter struct {
	schema.DeadLetter
	// Sequence is the message's in the outcomes stream; Stored is when it was stored there.
	Sequence uint64
	Stored   time.Time
	Subject  string
	// Message is the payload as it is stored.
	Message []byte
	// Problem says why the message is no dead letter of this stage. Of one that is none, only Reason and Identifier are
	// known, from the subject.
	Problem error
}

// Name names one dead letter among all: @ and its sequence.
func (l DeadLetter) Name() string { return fmt.Sprintf("@%d", l.Sequence) }

func newDeadLetter(subject string, sequence uint64, stored time.Time, message []byte) DeadLetter {
	l := DeadLetter{Sequence: sequence, Stored: stored.UTC(), Subject: subject, Message: message}
	if l.DeadLetter, l.Problem = schema.DecodeDeadLetter(subject, message); l.Problem != nil {
		kind, token, _ := schema.SplitSubject(subject)
		l.Reason, l.Identifier = schema.Reason(kind), token
	}
	return l
}
