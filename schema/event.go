package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// The CloudEvents types, data schemas and source of outcomes.
const (
	EventProcessed = "interaction.processed.v1"
	EventFailed    = "interaction.failed.v1"

	DataSchemaProcessed = "urn:statusworker:schema:processed:v1"
	DataSchemaFailed    = "urn:statusworker:schema:failed:v1"

	EventSource = "/statusworker"
)

// Origin is where a declared message was stored, and the progress of its interaction.
type Origin struct {
	Stream     string    `json:"stream"`
	Subject    string    `json:"subject"`
	Sequence   uint64    `json:"sequence"`
	Deliveries uint64    `json:"deliveries"`
	Stored     time.Time `json:"firstStored"`
	// Polls is the number of the last poll in its generation; 0 with delayed naks.
	Polls uint64 `json:"-"`
	// Traceparent is the W3C trace context of the declared message, or empty.
	Traceparent string `json:"-"`
	// Replays is the generation whose dead letter the declared message replays; zero if it replays none.
	Replays time.Time `json:"-"`
}

// Outcome is the result of an interaction: a processed event with a destination, or a dead letter with a reason. The
// same facts always give the same bytes and the same ID.
type Outcome struct {
	Identifier string
	Type       Type
	// Destination is set for a processed event, Reason and Detail for a dead letter.
	Destination Destination
	Reason      Reason
	Detail      string
	// Success is, for a dead letter, the destinations that the processed events would have had. It is not published.
	Success []Destination
	// Answer is the vendor's last answer if it is JSON. Otherwise AnswerPayload is the answer or its beginning, and
	// AnswerSize the size of the whole answer.
	Answer        json.RawMessage
	AnswerPayload []byte
	AnswerSize    int
	// Declaration is the declared message if it is JSON. Otherwise Payload, of a dead letter, is the message.
	Declaration json.RawMessage
	Payload     []byte
	Observed    time.Time
	// History are the changes of status, the oldest first; see [AddChange].
	History []StatusChange
	Origin  Origin
}

// Failed reports whether o is a dead letter.
func (o Outcome) Failed() bool { return o.Reason != "" }

// ID returns the CloudEvents id of o, which is also its Nats-Msg-Id. Each generation has its own IDs.
func (o Outcome) ID() string {
	kind := string(o.Destination)
	if o.Failed() {
		kind = string(o.Reason)
	}
	return fmt.Sprintf("%s/%s/%d", o.Identifier, kind, o.Origin.Stored.UnixNano())
}

// The limits of an outcome's parts. With them, every outcome and its headers fit into [MaxMessageBytes]: an outcome
// that did not fit could never be published, and its interaction would be polled forever.
const (
	// MaxPayloadBytes is the maximum size of an answer or of a declared message in an outcome. A larger one is cut.
	MaxPayloadBytes = 64 << 10
	// MaxDetailBytes is the maximum size of a detail.
	MaxDetailBytes = 2 << 10
	// maxSubjectBytes is the maximum size of a subject with the server's default limit for a control line.
	maxSubjectBytes = 4 << 10
)

type cloudEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	DataSchema      string    `json:"dataschema"`
	Traceparent     string    `json:"traceparent,omitempty"`
	Data            any       `json:"data"`
}

type processedData struct {
	Identifier    string          `json:"interactionIdentifier"`
	Type          Type            `json:"type"`
	Destination   Destination     `json:"destination"`
	Answer        json.RawMessage `json:"answer"`
	AnswerPayload []byte          `json:"answerPayload,omitempty"`
	AnswerSize    int             `json:"answerSize,omitempty"`
	Declaration   json.RawMessage `json:"declaration"`
	DeclaredAt    time.Time       `json:"declaredAt"`
	ObservedAt    time.Time       `json:"observedAt"`
	Polls         uint64          `json:"polls"`
	History       []StatusChange  `json:"history"`
}

type failedData struct {
	Identifier    string          `json:"interactionIdentifier"`
	Type          string          `json:"type"`
	Reason        Reason          `json:"reason"`
	Detail        string          `json:"detail"`
	Answer        json.RawMessage `json:"answer"`
	AnswerPayload []byte          `json:"answerPayload,omitempty"`
	AnswerSize    int             `json:"answerSize,omitempty"`
	Declaration   json.RawMessage `json:"declaration"`
	Payload       []byte          `json:"payload,omitempty"`
	PayloadSize   int             `json:"payloadSize,omitempty"`
	DeclaredAt    time.Time       `json:"declaredAt"`
	ObservedAt    time.Time       `json:"observedAt"`
	Polls         uint64          `json:"polls"`
	History       []StatusChange  `json:"history"`
	Source        Origin          `json:"source"`
}

// Marshal returns o as a structured CloudEvent in JSON. An answer that is not JSON or too large becomes the answer
// payload, and the declaration of a dead letter likewise becomes the payload. Payloads are cut at [MaxPayloadBytes],
// and their sizes are recorded. A detail is cut at [MaxDetailBytes]. A malformed trace context is omitted.
//
// Marshal returns an error only if the declaration of a processed event is not JSON or too large, or if a time is
// outside the years 0 to 9999.
func (o Outcome) Marshal() ([]byte, error) {
	o = o.fitted()
	if !o.Failed() && !fits(o.Declaration) {
		return nil, fmt.Errorf("encoding outcome %s: the declaration must be JSON of at most %d bytes",
			o.ID(), MaxPayloadBytes)
	}
	o.Observed, o.Origin.Stored = o.Observed.UTC(), o.Origin.Stored.UTC()
	e := cloudEvent{
		SpecVersion:     "1.0",
		ID:              o.ID(),
		Source:          EventSource,
		Type:            EventProcessed,
		Subject:         o.Identifier,
		Time:            o.Observed,
		DataContentType: "application/json",
		DataSchema:      DataSchemaProcessed,
		Traceparent:     TraceContext(o.Origin.Traceparent),
		Data:            o.processed(),
	}
	if o.Failed() {
		e.Type, e.DataSchema, e.Data = EventFailed, DataSchemaFailed, o.failed()
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // keeps the answer and the declaration as they were received
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encoding outcome %s: %w", o.ID(), err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (o Outcome) processed() processedData {
	return processedData{
		Identifier:    o.Identifier,
		Type:          o.Type,
		Destination:   o.Destination,
		Answer:        orNull(o.Answer),
		AnswerPayload: beginning(o.AnswerPayload),
		AnswerSize:    o.AnswerSize,
		Declaration:   orNull(o.Declaration),
		DeclaredAt:    o.Origin.Stored,
		ObservedAt:    o.Observed,
		Polls:         o.Origin.Polls,
		History:       orEmpty(o.History),
	}
}

func (o Outcome) failed() failedData {
	return failedData{
		Identifier:    o.Identifier,
		Type:          string(o.Type),
		Reason:        o.Reason,
		Detail:        o.Detail,
		Answer:        orNull(o.Answer),
		AnswerPayload: beginning(o.AnswerPayload),
		AnswerSize:    o.AnswerSize,
		Declaration:   orNull(o.Declaration),
		Payload:       beginning(o.Payload),
		PayloadSize:   len(o.Payload),
		DeclaredAt:    o.Origin.Stored,
		ObservedAt:    o.Observed,
		Polls:         o.Origin.Polls,
		History:       orEmpty(o.History),
		Source:        o.Origin,
	}
}

// fitted returns o with its parts within their limits: an answer or declaration that is not JSON or too large is moved
// to the payloads.
func (o Outcome) fitted() Outcome {
	switch {
	case !fits(o.Answer):
		o.Answer, o.AnswerPayload, o.AnswerSize = nil, o.Answer, len(o.Answer)
	case len(o.Answer) > 0:
		o.AnswerPayload, o.AnswerSize = nil, 0
	}
	o.AnswerSize = max(o.AnswerSize, len(o.AnswerPayload))
	switch {
	case !o.Failed():
	case !fits(o.Declaration):
		o.Declaration, o.Payload = nil, o.Declaration
	case len(o.Declaration) > 0:
		o.Payload = nil
	}
	o.Detail = shortened(strings.ToValidUTF8(o.Detail, "\uFFFD"), MaxDetailBytes)
	o.Origin.Subject = o.Origin.Subject[:min(len(o.Origin.Subject), maxSubjectBytes)]
	return o
}

// fits reports whether raw is empty, or JSON that an outcome can contain.
func fits(raw json.RawMessage) bool {
	return len(raw) == 0 || len(raw) <= MaxPayloadBytes && utf8.Valid(raw) && json.Valid(raw)
}

// beginning returns the first [MaxPayloadBytes] of a payload.
func beginning(payload []byte) []byte { return payload[:min(len(payload), MaxPayloadBytes)] }

// shortened cuts a longer text to maxBytes, with its original size at the end.
func shortened(s string, maxBytes int) string {
	if len(s) <= maxBytes {
		return s
	}
	size := fmt.Sprintf("... (%d bytes)", len(s))
	return strings.ToValidUTF8(s[:maxBytes-len(size)], "") + size
}

// ReadProcessed reads a processed event of [Outcome.Marshal].
func ReadProcessed(event []byte) (Outcome, error) {
	var data processedData
	e := cloudEvent{Data: &data}
	if err := json.Unmarshal(event, &e); err != nil {
		return Outcome{}, fmt.Errorf("reading a processed event: %w", err)
	}
	if e.Type != EventProcessed {
		return Outcome{}, fmt.Errorf("reading a processed event: the type is %s, must be %s",
			Quote(e.Type), EventProcessed)
	}
	return Outcome{
		Identifier:    data.Identifier,
		Type:          data.Type,
		Destination:   data.Destination,
		Answer:        orNothing(data.Answer),
		AnswerPayload: data.AnswerPayload,
		AnswerSize:    data.AnswerSize,
		Declaration:   data.Declaration,
		Observed:      data.ObservedAt,
		History:       data.History,
		Origin:        Origin{Stored: data.DeclaredAt, Polls: data.Polls, Traceparent: e.Traceparent},
	}, nil
}

// orNothing returns nil for null.
func orNothing(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// orEmpty returns an empty list, which is encoded as [], for none.
func orEmpty(history []StatusChange) []StatusChange {
	if history == nil {
		return []StatusChange{}
	}
	return history
}

// orNull returns nil, which is encoded as null, for an empty message.
func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	return raw
}
