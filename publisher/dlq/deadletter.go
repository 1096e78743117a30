package dlq

import (
	"fmt"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
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

func newDeadLetter(m broker.Message) DeadLetter {
	l := DeadLetter{Sequence: m.Sequence, Stored: m.Time.UTC(), Subject: m.Subject, Message: m.Data}
	if l.DeadLetter, l.Problem = schema.DecodeDeadLetter(m.Subject, m.Data); l.Problem != nil {
		kind, token, _ := schema.SplitSubject(m.Subject)
		l.Reason, l.Identifier = schema.Reason(kind), token
	}
	return l
}
