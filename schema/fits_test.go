package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"statusworker/schema"
)

// maxHeaders exceeds the size of an outcome's headers: content type, message ID, condition, batch and trace context.
const maxHeaders = 1 << 10

// worst returns texts that grow when they are encoded, by name.
func worst() map[string][]byte {
	object := func(unit string) []byte {
		n := (schema.MaxPayloadBytes - 8) / len(unit)
		return []byte(`{"x":"` + strings.Repeat(unit, n) + `"}`)
	}
	nested := func(depth int) []byte {
		return []byte(`{"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "}")
	}
	all := map[string][]byte{
		"nothing":          nil,
		"letters":          object("x"),
		"line separators":  object("\u2028"),
		"HTML":             object("<"),
		"escapes":          object(`\"`),
		"escaped controls": object(`\u0000`),
		"lone surrogates":  object(`\ud83d`),
		"DEL":              object("\u007f"),
		"four bytes":       object("\U0001F600"),
		"controls":         object("\x01"),
		"invalid UTF-8":    object("\xff"),
		"white space":      append(bytes.Repeat([]byte(" "), schema.MaxPayloadBytes-2), "{}"...),
		"deep":             nested(5000),
		"too deep":         nested(30000),
		"numbers":          []byte(`{"x":[` + strings.Repeat("1e1,", 16000) + "1]}"),
		"zeros":            make([]byte, schema.MaxPayloadBytes),
		"no JSON":          bytes.Repeat([]byte{0xff}, schema.MaxPayloadBytes),
		"too long":         object("x")[:8],
		"megabytes":        bytes.Repeat([]byte("\x01"), 4<<20),
	}
	all["too long"] = append(object("x"), ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ')
	return all
}

// longestHistory has changes to statuses that grow most when they are encoded.
func longestHistory() []schema.StatusChange {
	var values []string
	for i := range 2 * schema.MaxHistory {
		values = schema.AddChange(values, schema.StatusChange{
			Status: schema.Status(strings.Repeat(`"`, schema.MaxStatusBytes-1) + fmt.Sprint(i%2)), At: observed,
			Poll: 1<<64 - 1,
		})
	}
	return schema.ReadHistory(values)
}

// fit checks that an outcome can be encoded and decoded, and fits into a message.
func fit(t *testing.T, o schema.Outcome) int {
	t.Helper()
	event, err := o.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if len(event)+maxHeaders > schema.MaxMessageBytes {
		t.Errorf("%d bytes, want at most %d", len(event), schema.MaxMessageBytes-maxHeaders)
	}
	if !json.Valid(event) {
		t.Errorf("not JSON: %.200q", event)
	}
	if o.Failed() {
		d, err := ns.DecodeDeadLetter(ns.OutcomeSubject(o), event)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Detail) > schema.MaxDetailBytes || d.AnswerSize < len(d.AnswerPayload) ||
			d.PayloadSize < len(d.Payload) {
			t.Errorf("detail of %d bytes, answer %d of %d, payload %d of %d",
				len(d.Detail), len(d.AnswerPayload), d.AnswerSize, len(d.Payload), d.PayloadSize)
		}
	}
	return len(event)
}

// Every outcome fits into a message of the maximum size.
func TestOutcomeFitsIntoAMessage(t *testing.T) {
	largest := 0
	const alone = "escapes" // the parts add up: each is combined with itself, and with one other
	for answerName, answer := range worst() {
		for declarationName, declaration := range worst() {
			if answerName != declarationName && answerName != alone && declarationName != alone {
				continue
			}
			t.Run(answerName+", "+declarationName, func(t *testing.T) {
				o := schema.Outcome{
					Identifier:    guid,
					Type:          schema.Transcript,
					Reason:        schema.FileDownloadFailed,
					Observed:      observed,
					Detail:        string(answer),
					Answer:        answer,
					AnswerPayload: declaration,
					Declaration:   declaration,
					Payload:       answer,
					History:       longestHistory(),
					Origin: schema.Origin{
						Stream:      ns.StreamDeclared(),
						Subject:     "interactions.declared." + strings.Repeat("\x01", 5000),
						Traceparent: traceState,
						Sequence:    1<<64 - 1,
						Deliveries:  1<<64 - 1,
						Polls:       1<<64 - 1,
						Stored:      time.Date(2022, 6, 17, 21, 23, 7, 123456789, time.UTC),
					},
				}
				largest = max(largest, fit(t, o))
				o.Reason, o.Destination, o.Declaration = "", schema.ToTranscript, objectOf(schema.MaxDeclaredBytes)
				largest = max(largest, fit(t, o))
			})
		}
	}
	t.Logf("the largest outcome has %d bytes; the limit with headers is %d", largest, schema.MaxMessageBytes)
	if largest < schema.MaxMessageBytes*3/4 {
		t.Errorf("the largest outcome has %d bytes: the test lacks the worst case, or the limit of %d is too high",
			largest, schema.MaxMessageBytes)
	}
}
