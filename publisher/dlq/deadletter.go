package dlq

import (
	"fmt"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// DeadLetter is a stored dead letter.
type DeadLetter struct {
	schema.DeadLetter
	Namespace schema.Namespace
	// Sequence is the sequence of the message in the outcomes stream; Stored is when it was stored there.
	Sequence uint64
	Stored   time.Time
	Subject  string
	// Message is the stored payload.
	Message []byte
	// Problem is why the message is not a dead letter of statusworker, or nil. With a problem, only Reason and
	// Identifier of the embedded dead letter are set, from the subject.
	Problem error
}

// Name returns the unique name of the dead letter: @ and its sequence.
func (l DeadLetter) Name() string { return fmt.Sprintf("@%d", l.Sequence) }

// Why returns why the interaction failed, or the problem of a message that is not a dead letter.
func (l DeadLetter) Why() string {
	if l.Problem != nil {
		return l.Problem.Error()
	}
	return l.Detail
}

func (d *Queue) newDeadLetter(m broker.Message) DeadLetter {
	l := DeadLetter{Namespace: d.names, Sequence: m.Sequence, Stored: m.Time.UTC(), Subject: m.Subject, Message: m.Data}
	if l.DeadLetter, l.Problem = d.names.DecodeDeadLetter(m.Subject, m.Data); l.Problem != nil {
		kind, token, _ := d.names.SplitSubject(m.Subject)
		l.Reason, l.Identifier = schema.Reason(kind), token
	}
	return l
}
