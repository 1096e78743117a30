package fuzz

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		message, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message)
	}
	for _, message := range []string{
		"", "null", bare(`,"type":1`), enveloped(enveloped(bare(""), ""), ""),
		enveloped(bare(""), `,"traceparent":"`+traceState+`"`),
		"\ufeff" + bare(""), "\ufeff" + bare(`,"Type":1`), "\xff\xfe{\x00",
		enveloped(bare(""), `,"TraceParent":"`+traceState+`"`),
		bare(`,"x":` + nested(20)), bare(",\"x\":\"\xff\""), `{"interactionIdentifier":"A` + "\u2028" + `"}`,
	} {
		f.Add([]byte(message))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		before := bytes.Clone(message)
		d, err := schema.Decode(message)
		if !bytes.Equal(message, before) {
			t.Fatal("Decode changed the message")
		}
		message = schema.TrimBOM(message)
		notJSON := schema.CheckJSON(message)
		if err != nil {
			checkFuzzedRefusal(t, err)
			if notJSON != nil && err.Error() != notJSON.Error() {
				t.Errorf("error %v of Decode, but %v of CheckJSON", err, notJSON)
			}
			checkFuzzedDeadLetter(t, message, err, notJSON == nil)
			return
		}
		if notJSON != nil {
			t.Errorf("Decode accepts the message, CheckJSON does not: %v", notJSON)
		}
		if err := schema.CheckIdentifier(d.Identifier); err != nil {
			t.Error(err)
		}
		if !d.Type.Valid() {
			t.Errorf("type %q", d.Type)
		}
		checkAgreement(t, message, d)

		again, err := schema.Decode(d.Declaration)
		if err != nil {
			t.Fatalf("Decode does not accept the declaration: %v", err)
		}
		if again.Identifier != d.Identifier || again.Type != d.Type || !slices.Equal(again.Differs, d.Differs) ||
			!bytes.Equal(again.Declaration, d.Declaration) {
			t.Errorf("the declaration decodes to %+v, want %+v", again, d)
		}
		if _, err := ns.DecodeFrom(ns.DeclaredSubject(d.Type, d.Identifier), message); err != nil {
			t.Errorf("DecodeFrom does not accept the message from its own subject: %v", err)
		}

		checkFuzzedOutcome(t, schema.Outcome{
			Identifier:  d.Identifier,
			Type:        d.Type,
			Destination: schema.ToTranscript,
			Answer:      json.RawMessage(`{"status":"processed"}`),
			Declaration: d.Declaration,
			Observed:    observed,
			Origin:      schema.Origin{Stored: stored, Traceparent: d.Traceparent},
		})
	})
}

func checkFuzzedRefusal(t *testing.T, err error) {
	t.Helper()
	var refused *schema.MemberError
	if !errors.As(err, &refused) {
		t.Errorf("error %v (%T), want a *MemberError", err, err)
	}
	checkOneLine(t, err.Error())
}

func checkFuzzedDeadLetter(t *testing.T, message []byte, err error, isJSON bool) {
	t.Helper()
	o := schema.Outcome{
		Identifier: "seq-42",
		Reason:     schema.InvalidMessage,
		Detail:     err.Error(),
		Observed:   observed,
		Origin: schema.Origin{
			Stream:   ns.StreamDeclared(),
			Subject:  "interactions.declared.audio.*",
			Sequence: 42,
			Stored:   stored,
		},
	}
	if isJSON {
		o.Declaration = message
	} else {
		o.Payload = message
	}
	checkFuzzedOutcome(t, o)
}

func checkFuzzedOutcome(t *testing.T, o schema.Outcome) {
	t.Helper()
	b, err := o.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, schemaOf(o), b); err != nil {
		t.Errorf("outcome %s: %v", b, err)
	}
	var e struct {
		Data struct{ Declaration json.RawMessage }
	}
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	if want := compact(t, o.Declaration); string(e.Data.Declaration) != want {
		t.Errorf("declaration %s, want %s", e.Data.Declaration, want)
	}
}
