package dlqview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode"
	"unicode/utf16"

	"statusworker/publisher/dlq"
)

// entry returns a dead letter as JSON: where it is stored, and the event. A message that is not an event is in the
// member message, with the problem.
func entry(l dlq.DeadLetter) []byte {
	var e struct {
		Sequence uint64          `json:"sequence"`
		Stored   time.Time       `json:"stored"`
		Subject  string          `json:"subject"`
		Event    json.RawMessage `json:"event,omitempty"`
		Problem  string          `json:"problem,omitempty"`
		Message  []byte          `json:"message,omitempty"`
	}
	e.Sequence, e.Stored, e.Subject = l.Sequence, l.Stored, l.Subject
	if l.Problem != nil {
		e.Problem, e.Message = l.Problem.Error(), l.Message
	} else {
		e.Event = l.Message
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // as stored
	if err := enc.Encode(e); err != nil {
		panic(err) // a dead letter without a problem is JSON
	}
	return escaped(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// Event returns the stored event on one line, or the entry of a message that is not an event.
func Event(l dlq.DeadLetter) []byte {
	var b bytes.Buffer
	if l.Problem != nil || json.Compact(&b, l.Message) != nil {
		return entry(l)
	}
	return escaped(b.Bytes())
}

// escaped escapes unprintable characters in JSON, so that the value is unchanged and the terminal is not controlled by
// it.
func escaped(text []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case unicode.IsPrint(r), r == '\n':
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}
