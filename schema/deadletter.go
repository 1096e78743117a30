package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// DeadLetter is a dead letter that was read: the `data` of an event of type [EventFailed], and attributes of its
// envelope.
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
	History       []StatusChange  `json:"history"`
	Source        Origin          `json:"source"`

	ID          string `json:"-"`
	Traceparent string `json:"-"`
}

// DecodeDeadLetter reads a message on a subject of dead letters. It returns an error if statusworker did not publish
// the message.
func (n Namespace) DecodeDeadLetter(subject string, message []byte) (DeadLetter, error) {
	var e struct {
		ID          string     `json:"id"`
		Type        string     `json:"type"`
		Traceparent string     `json:"traceparent"`
		Data        DeadLetter `json:"data"`
	}
	if err := json.Unmarshal(message, &e); err != nil {
		return DeadLetter{}, fmt.Errorf("the message on %s is not an event in JSON: %w", Quote(subject), err)
	}
	d := e.Data
	switch kind, token, _ := n.SplitSubject(subject); {
	case e.Type != EventFailed:
		return DeadLetter{}, fmt.Errorf("the message on %s has the type %s; must be %s",
			Quote(subject), Quote(e.Type), EventFailed)
	case string(d.Reason) != kind, d.Identifier != token:
		return DeadLetter{}, fmt.Errorf("the message on %s has another interaction or reason in its data: %s, %s",
			Quote(subject), Quote(d.Identifier), Quote(string(d.Reason)))
	case e.ID == "":
		return DeadLetter{}, fmt.Errorf("the message on %s is an event without an id", Quote(subject))
	case d.Source.Stored.IsZero():
		return DeadLetter{}, fmt.Errorf("the message on %s has no data.source.firstStored", Quote(subject))
	}
	d.ID, d.Traceparent = e.ID, TraceContext(e.Traceparent)
	return d, nil
}

// Declared returns the declared message of a dead letter in a namespace: its subject, and its bare JSON or, if it was
// not JSON, its payload. It returns an error if the interaction cannot be declared again.
func (d DeadLetter) Declared(n Namespace) (subject string, message []byte, err error) {
	subject = d.Source.Subject
	kind, identifier, ok := n.SplitSubject(subject)
	if !ok || !n.IsDeclaredSubject(subject) || !Type(kind).Valid() ||
		CheckIdentifier(identifier) != nil || identifier != d.Identifier {
		return "", nil, fmt.Errorf("its declared message had the subject %s, on which no valid message can be declared",
			Quote(subject))
	}
	if len(d.Declaration) > 0 && string(d.Declaration) != "null" {
		if d.Reason != InvalidMessage {
			if _, err := n.DecodeFrom(subject, d.Declaration); err != nil {
				return "", nil, fmt.Errorf("its declaration is not valid: %w", err)
			}
		}
		return subject, d.Declaration, nil
	}
	switch {
	case d.Reason != InvalidMessage && d.Reason != InternalError:
		return "", nil, errors.New("it has no declaration")
	case d.PayloadSize > len(d.Payload):
		return "", nil, fmt.Errorf("it has only %d of the %d bytes of its payload", len(d.Payload), d.PayloadSize)
	case len(d.Payload) == 0:
		return "", nil, errors.New("its declared message was empty")
	}
	return subject, d.Payload, nil
}

// IsDeadLetterToken reports whether s may be the last token of a dead letter's subject: an interaction identifier, or a
// result of [DeadLetterToken].
func IsDeadLetterToken(s string) bool { return plainToken.MatchString(s) }
