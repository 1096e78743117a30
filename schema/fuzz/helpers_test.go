package fuzz

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"statusworker/schema"
)

const (
	guid       = "bd5c92f3-c228-44a6-91bf-b52672569878"
	traceState = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

var (
	stored   = time.Date(2022, 6, 17, 21, 23, 7, 500_000_000, time.UTC)
	observed = time.Date(2022, 6, 17, 21, 29, 8, 250_000_000, time.UTC)
)

// bare returns a declared message with additional members.
func bare(more string) string {
	return `{"interactionIdentifier":"` + guid + `","type":"audio"` + more + `}`
}

// enveloped returns a CloudEvent with data and additional members.
func enveloped(data, more string) string {
	return `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":` + data + more + `}`
}

// nested returns nested arrays.
func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

var compiled sync.Map

// validate checks a message against a document of schema.
func validate(t testing.TB, name string, message []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
	if err != nil {
		return err
	}
	if found, ok := compiled.Load(name); ok {
		return found.(*jsonschema.Schema).Validate(v)
	}
	text, err := schema.Document(name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource("urn:"+name, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:" + name)
	if err != nil {
		t.Fatal(err)
	}
	compiled.Store(name, s)
	return s.Validate(v)
}

// checkAgreement checks that a message that Decode accepts is valid against the schemas.
func checkAgreement(t testing.TB, message []byte, d schema.Declared) {
	t.Helper()
	if err := validate(t, "declared", d.Declaration); err != nil {
		t.Errorf("Decode accepts the declaration, its schema does not: %v", err)
	}
	name := "declared"
	if !bytes.Equal(bytes.TrimSpace(message), d.Declaration) {
		name = "declared-cloudevent"
	}
	if err := validate(t, name, message); err != nil {
		t.Errorf("Decode accepts the message, schema %s does not: %v", name, err)
	}
}

// schemaOf returns the document for an outcome.
func schemaOf(o schema.Outcome) string {
	if o.Failed() {
		return "failed"
	}
	return "processed"
}

func compact(t testing.TB, raw json.RawMessage) string {
	t.Helper()
	if raw == nil {
		return "null"
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// checkOneLine checks that an error is one printable line of limited length.
func checkOneLine(t testing.TB, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(text) {
		t.Errorf("text %q is not printable", text)
	}
	if len(text) >= 1000 {
		t.Errorf("text is %d bytes long, want less than 1000", len(text))
	}
}
