package fuzz

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"statusworker/schema"
)

// maxHeaders exceeds the size of an outcome's headers: content type, message ID, condition and trace context.
const maxHeaders = 1 << 10

func FuzzOutcomeFits(f *testing.F) {
	for _, unit := range []string{"x", "<", "\u2028", `\"`, `\u0000`, "\x01", "\xff", "[", `{"x":`, " "} {
		f.Add([]byte(unit), uint16(1000), "interactions.declared.chat."+unit, true)
	}
	f.Fuzz(func(t *testing.T, unit []byte, times uint16, subject string, quoted bool) {
		text := bytes.Repeat(unit, min(int(times), 4*schema.MaxPayloadBytes/max(len(unit), 1)))
		if quoted {
			text = slices.Concat([]byte(`{"x":"`), text, []byte(`"}`))
		}
		o := schema.Outcome{
			Identifier:  ns.DeadLetterToken(subject, 7),
			Reason:      schema.InvalidMessage,
			Detail:      string(text),
			Observed:    observed,
			Answer:      text,
			Declaration: text,
			Origin:      schema.Origin{Subject: subject, Stored: stored},
		}
		event, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if len(event)+maxHeaders > schema.MaxMessageBytes || !json.Valid(event) {
			t.Errorf("%d bytes, want JSON of at most %d: %.200q", len(event), schema.MaxMessageBytes-maxHeaders, event)
		}
		if _, err := ns.DecodeDeadLetter(ns.OutcomeSubject(o), event); err != nil {
			t.Error(err)
		}
	})
}
