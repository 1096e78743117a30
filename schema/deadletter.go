package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// DeadLetter is a dead letter as it is read back: the `data` of an event of type [EventFailed], and what its envelope
// has.
type DeadLetter struct {
	Identifier    string          `json:"interactionIdentifier"`
	Type          Type            `json:"type"`
	Reason        Reason          `json:"reason"`
	Detail        string          `json:"detail"`
	Answer        json.RawMessage `json:"answer"`
	AnswerPayload []byte          `json:"answerPayload"`
	AnswerSize    int             `json:"answerSize"`
	Declaration   json.RawMessage `json:"declaration"`
	Payload       []byte          `json:"payload"`
	PayloadSize   int             `json:"payloadSize"`
	DeclaredAt    time.Time       `json:"declaredAt"`
	ObservedAt    time.Time       `json:"observedAt"`
	Polls         uint64          `json:"polls"`
	Source        Origin          `json:"source"`

	ID          string `json:"-"`
	Traceparent string `json:"-"`
}

// DecodeDeadLetter reads a message on a subject of dead letters. The error says why it is none that this stage
// published.
func DecodeDeadLetter(subject string, message []byte) (DeadLetter, error) {
	var e struct {
		ID          string     `json:"id"`
		Type        string     `json:"type"`
		Traceparent string     `json:"traceparent"`
		Data        DeadLetter `json:"data"`
	}
	if err := json.Unmarshal(message, &e); err != nil {
		return DeadLetter{}, fmt.Errorf("the message on %s is no event in JSON: %w", Quote(subject), err)
	}
	d := e.Data
	switch kind, token, _ := DefaultNamespace.SplitSubject(subject); {
	case e.Type != EventFailed:
		return DeadLetter{}, fmt.Errorf(
			"the message on %s is of type %s, want %s",
			Quote(subject),
			Quote(e.Type),
			EventFailed,
		)
	case string(d.Reason) != kind, d.Identifier != token:
		return DeadLetter{}, fmt.Errorf(
			"the message on %s says that it is about %s, reason %s",
			Quote(subject),
			Quote(d.Identifier),
			Quote(string(d.Reason)),
		)
	case e.ID == "":
		return DeadLetter{}, fmt.Errorf("the message on %s is an event without an id", Quote(subject))
	case d.Source.Stored.IsZero():
		return DeadLetter{}, fmt.Errorf(
			"the message on %s does not say when its declared message was stored (data.source.firstStored)",
			Quote(subject),
		)
	}
	d.ID, d.Traceparent = e.ID, TraceContext(e.Traceparent)
	return d, nil
}

// Declared gives the declared message that led to a dead letter: the subject it came on, and its payload as bare JSON,
// or as it came where it was none. The error says why there is nothing to declare again.
func (d DeadLetter) Declared() (subject string, message []byte, err error) {
	subject = d.Source.Subject
	kind, identifier, ok := DefaultNamespace.SplitSubject(subject)
	if !ok || !DefaultNamespace.IsDeclaredSubject(subject) || !Type(kind).Valid() ||
		CheckIdentifier(identifier) != nil ||
		identifier != d.Identifier {
		return "", nil, fmt.Errorf("it came on the subject %s, on which nothing valid can be declared", Quote(subject))
	}
	if len(d.Declaration) > 0 && string(d.Declaration) != "null" {
		if d.Reason == InvalidMessage {
			return subject, d.Declaration, nil
		}
		if _, err := DecodeFrom(subject, d.Declaration); err != nil {
			return "", nil, fmt.Errorf("its declaration is none: %w", err)
		}
		return subject, d.Declaration, nil
	}
	if d.Reason != InvalidMessage && d.Reason != InternalError {
		return "", nil, errors.New("it has no declaration")
	}
	if d.PayloadSize > len(d.Payload) {
		return "", nil, fmt.Errorf(
			"the dead letter has %d of the %d bytes of its payload",
			len(d.Payload),
			d.PayloadSize,
		)
	}
	if len(d.Payload) == 0 {
		return "", nil, errors.New("its declared message was empty")
	}
	return subject, d.Payload, nil
}

// CheckDeadLetterToken says what is wrong with the last token of a dead letter's subject, or nil: an interaction
// identifier, or what [DeadLetterToken] makes. Nothing that passes can reach beyond its token in a subject.
func CheckDeadLetterToken(s string) error {
	if !plainToken.MatchString(s) {
		return fmt.Errorf(
			"%s is neither an interaction identifier nor the token of an invalid message (letters, digits, - and _, at most 64)",
			Quote(s),
		)
	}
	return nil
}
