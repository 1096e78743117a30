package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// CloudEvents types, their data schemas and the source of the events that this stage publishes.
const (
	EventProcessed = "interaction.processed.v1"
	EventFailed    = "interaction.failed.v1"

	DataSchemaProcessed = "urn:statusworker:schema:processed:v1"
	DataSchemaFailed    = "urn:statusworker:schema:failed:v1"

	EventSource = "/statusworker"
)

// Origin says where a declared message was stored, and how far its interaction has come.
type Origin struct {
	Stream     string    `json:"stream"`
	Subject    string    `json:"subject"`
	Sequence   uint64    `json:"sequence"`
	Deliveries uint64    `json:"deliveries"`
	Stored     time.Time `json:"firstStored"`
	// Polls is how many polls were begun.
	Polls uint64 `json:"-"`
	// Traceparent is the W3C trace context of the declared message, or empty.
	Traceparent string `json:"-"`
}

// Outcome is what became of an interaction, before it is put on a subject: either processed, with a destination, or
// failed, with a reason. It is deterministic: the same facts give the same bytes and the same ID.
type Outcome struct {
	Identifier string
	Type       Type
	// Destination is set for a processed event, Reason and Detail for a dead letter.
	Destination Destination
	Reason      Reason
	Detail      string
	// Success, of a dead letter, is where the processed events of this interaction would have gone. It is not
	// published.
	Success []Destination
	// Answer is the vendor's last answer, where there was one and it is JSON. AnswerPayload is it otherwise, and
	// AnswerSize how many bytes it had where that is only its beginning.
	Answer        json.RawMessage
	AnswerPayload []byte
	AnswerSize    int
	// Declaration is the declared message, where it was JSON. Payload, of a dead letter, is it otherwise.
	Declaration json.RawMessage
	Payload     []byte
	Observed    time.Time
	Origin      Origin
}

// Failed tells whether o is a dead letter.
func (o Outcome) Failed() bool { return o.Reason != "" }

// Subject is where o is published in [DefaultNamespace].
func (o Outcome) Subject() string { return DefaultNamespace.OutcomeSubject(o) }

// ID is the CloudEvents id of o, and its Nats-Msg-Id. An interaction that is declared again has other IDs.
func (o Outcome) ID() string {
	kind := string(o.Destination)
	if o.Failed() {
		kind = string(o.Reason)
	}
	return fmt.Sprintf("%s/%s/%d", o.Identifier, kind, o.Origin.Stored.UnixNano())
}

// What an outcome carries. Whatever it is made of, with its headers it fits into [MaxMessageBytes]: one that did not
// could never be published, and its interaction would be polled for ever.
const (
	// MaxPayloadBytes is how much it carries of an answer, and of a declared message, that is no JSON or is larger.
	MaxPayloadBytes = 64 << 10
	// MaxDetailBytes is how long a detail may be.
	MaxDetailBytes = 2 << 10
	// maxSubjectBytes is how long a subject is with a server that has the default for the length of a control line.
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
	Source        Origin          `json:"source"`
}

// Marshal gives o as a structured CloudEvent in JSON. An answer that is no JSON, or is too large, becomes its payload,
// and so does the declaration of a dead letter. Of a payload it keeps the first [MaxPayloadBytes] bytes and says how
// many there were, of a detail the first [MaxDetailBytes], and of a trace context nothing where it is malformed. It
// fails only where the declaration of a processed event is none that was taken in, or a time is outside the years 0 to
// 9999.
func (o Outcome) Marshal() ([]byte, error) {
	o = o.fitted()
	if !o.Failed() && !fits(o.Declaration) {
		return nil, fmt.Errorf(
			"encoding outcome %s: its declaration is not JSON of at most %d bytes",
			o.ID(),
			MaxPayloadBytes,
		)
	}
	e := cloudEvent{
		SpecVersion: "1.0", ID: o.ID(), Source: EventSource, Subject: o.Identifier, Time: o.Observed.UTC(),
		DataContentType: "application/json", Traceparent: TraceContext(o.Origin.Traceparent),
	}
	origin := o.Origin
	origin.Stored = origin.Stored.UTC()
	answer, declaration := orNull(o.Answer), orNull(o.Declaration)
	if o.Failed() {
		e.Type, e.DataSchema = EventFailed, DataSchemaFailed
		e.Data = failedData{
			Identifier:    o.Identifier,
			Type:          string(o.Type),
			Reason:        o.Reason,
			Detail:        o.Detail,
			Answer:        answer,
			AnswerPayload: beginning(o.AnswerPayload),
			AnswerSize:    o.AnswerSize,
			Declaration:   declaration,
			Payload:       beginning(o.Payload),
			PayloadSize:   len(o.Payload),
			DeclaredAt:    origin.Stored,
			ObservedAt:    e.Time,
			Polls:         o.Origin.Polls,
			Source:        origin,
		}
	} else {
		e.Type, e.DataSchema = EventProcessed, DataSchemaProcessed
		e.Data = processedData{
			Identifier:    o.Identifier,
			Type:          o.Type,
			Destination:   o.Destination,
			Answer:        answer,
			AnswerPayload: beginning(o.AnswerPayload),
			AnswerSize:    o.AnswerSize,
			Declaration:   declaration,
			DeclaredAt:    origin.Stored,
			ObservedAt:    e.Time,
			Polls:         o.Origin.Polls,
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the answer and the declaration are handed on as they came
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encoding outcome %s: %w", o.ID(), err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// fitted is o with what is no JSON, or too large for a message, in its payloads, and with a detail and a subject of
// bounded length.
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

// fits tells whether a message can carry this as JSON, or there is nothing to carry.
func fits(raw json.RawMessage) bool {
	return len(raw) == 0 || len(raw) <= MaxPayloadBytes && utf8.Valid(raw) && json.Valid(raw)
}

// beginning is as much of a payload as a message carries.
func beginning(payload []byte) []byte { return payload[:min(len(payload), MaxPayloadBytes)] }

// shortened is a text of at most that many bytes, and how many it had where they were more.
func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	size := fmt.Sprintf("... (%d bytes)", len(s))
	return strings.ToValidUTF8(s[:most-len(size)], "") + size
}

// ReadProcessed reads a processed event as [Outcome.Marshal] writes it. The error says that it is none.
func ReadProcessed(event []byte) (Outcome, error) {
	var data processedData
	e := cloudEvent{Data: &data}
	if err := json.Unmarshal(event, &e); err != nil {
		return Outcome{}, fmt.Errorf("reading a processed event: %w", err)
	}
	if e.Type != EventProcessed {
		return Outcome{}, fmt.Errorf(
			"reading a processed event: its type is %s, want %s",
			Quote(e.Type),
			EventProcessed,
		)
	}
	return Outcome{
		Identifier:  data.Identifier,
		Type:        data.Type,
		Destination: data.Destination,
		Answer: orNothing(
			data.Answer,
		),
		AnswerPayload: data.AnswerPayload,
		AnswerSize:    data.AnswerSize,
		Declaration:   data.Declaration,
		Observed:      data.ObservedAt,
		Origin:        Origin{Stored: data.DeclaredAt, Polls: data.Polls, Traceparent: e.Traceparent},
	}, nil
}

// orNothing is the inverse of orNull.
func orNothing(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	return raw
}
