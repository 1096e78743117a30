package schema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statusworker/schema"
)

func TestDecodeDeadLetterReadsMarshal(t *testing.T) {
	stored := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	o := schema.Outcome{
		Identifier:  guid,
		Type:        schema.Audio,
		Reason:      schema.ProcessingFailed,
		Detail:      "the vendor's errorMessage: \x1b<b>",
		Answer:      json.RawMessage(`{"status":"processingFailed","n":1.50}`),
		Declaration: json.RawMessage(bare("")),
		Observed:    stored.Add(time.Hour),
		Origin: schema.Origin{
			Stream:      ns.StreamDeclared(),
			Subject:     ns.DeclaredSubject(schema.Audio, guid),
			Sequence:    7,
			Deliveries:  2,
			Stored:      stored,
			Polls:       3,
			Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
	}
	message, err := o.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	d, err := ns.DecodeDeadLetter(ns.OutcomeSubject(o), message)
	if err != nil {
		t.Fatal(err)
	}
	d.Source.Polls, d.Source.Traceparent = d.Polls, d.Traceparent
	again := schema.Outcome{
		Identifier:  d.Identifier,
		Type:        d.Type,
		Reason:      d.Reason,
		Detail:      d.Detail,
		Answer:      d.Answer,
		Declaration: d.Declaration,
		Observed:    d.ObservedAt,
		Origin:      d.Source,
	}
	rewritten, err := again.Marshal()
	if err != nil || !bytes.Equal(rewritten, message) || d.ID != o.ID() {
		t.Errorf("read: ID %s\n%s\nwant: ID %s\n%s (%v)", d.ID, rewritten, o.ID(), message, err)
	}
	subject, declared, err := d.Declared(ns)
	if err != nil || subject != o.Origin.Subject || string(declared) != bare("") {
		t.Errorf("Declared() = %s on %s, %v", declared, subject, err)
	}
}

// A payload can be declared again if the message was invalid or made workers panic, unless the payload was cut.
func TestDeadLetterDeclaresItsPayload(t *testing.T) {
	subject := ns.DeclaredSubject(schema.Chat, guid)
	for _, tt := range []struct {
		reason schema.Reason
		size   int
		want   bool
	}{
		{schema.InternalError, 100, true}, {schema.InvalidMessage, 100, true}, {schema.Rejected, 100, false},
		{schema.InternalError, schema.MaxPayloadBytes, true}, {schema.InternalError, schema.MaxPayloadBytes + 1, false},
	} {
		payload := bytes.Repeat([]byte("x"), tt.size)
		o := schema.Outcome{
			Identifier: guid,
			Reason:     tt.reason,
			Payload:    payload,
			Observed:   observed,
			Origin:     schema.Origin{Subject: subject, Stored: stored},
		}
		message, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		d, err := ns.DecodeDeadLetter(ns.OutcomeSubject(o), message)
		if err != nil {
			t.Fatal(err)
		}
		on, declared, err := d.Declared(ns)
		if got := err == nil; got != tt.want || got && (on != subject || !bytes.Equal(declared, payload)) {
			t.Errorf("%s, %d bytes: declared %d bytes on %s, %v", tt.reason, tt.size, len(declared), on, err)
		}
	}
}

func TestDecodeDeadLetterReadsGoldenFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/outcomes/failed*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d golden dead letters, %v", len(files), err)
	}
	for _, file := range files {
		message, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var event struct {
			Subject string `json:"subject"`
			Data    struct {
				Reason schema.Reason `json:"reason"`
			} `json:"data"`
		}
		if err := json.Unmarshal(message, &event); err != nil {
			t.Fatal(err)
		}
		subject := ns.FailedSubject(event.Data.Reason, event.Subject)
		if _, err := ns.DecodeDeadLetter(subject, message); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestDecodeDeadLetterRefuses(t *testing.T) {
	subject := ns.FailedSubject(schema.Rejected, guid)
	event := func(more string) string {
		return `{"specversion":"1.0","type":"interaction.failed.v1"` + more + `}`
	}
	data := func(id string, r schema.Reason, more string) string {
		return `,"data":{"interactionIdentifier":"` + id + `","reason":"` + string(r) + `"` + more + `}`
	}
	const source = `,"source":{"firstStored":"2026-03-01T12:00:00Z"}`
	for _, message := range []string{
		"",
		"garbage\x1b",
		"[]",
		"{}",
		event(`,"id":"1","data":[]`),
		event(`,"id":"1"` + data("another\n", schema.Rejected, source)),
		event(`,"id":"1"` + data(guid, schema.NotFound, source)),
		event(data(guid, schema.Rejected, source)),
		event(`,"id":"1"` + data(guid, schema.Rejected, "")),
	} {
		_, err := ns.DecodeDeadLetter(subject, []byte(strings.ReplaceAll(message, "\n", `\n`)))
		if err == nil || !strings.Contains(err.Error(), schema.Quote(subject)) {
			t.Errorf("%q: error %v, want one with the subject", message, err)
			continue
		}
		checkOneLine(t, err.Error())
	}
}
