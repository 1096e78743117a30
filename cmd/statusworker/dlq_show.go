package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"statusworker/publisher/desk"
)

// dlqList writes dead letters as they come, in one of three forms.
type dlqList struct {
	w     io.Writer
	form  string
	width int // of the terminal; 0 is no bound
	now   time.Time
	n     int
}

func newDLQList(w io.Writer, form string, width int) *dlqList {
	return &dlqList{w: w, form: form, width: width, now: time.Now()}
}

func (l *dlqList) add(letter desk.Letter) error {
	l.n++
	switch l.form {
	case "ndjson":
		_, err := fmt.Fprintf(l.w, "%s\n", eventLine(letter))
		return err
	case "json":
		before := ",\n"
		if l.n == 1 {
			before = "[\n"
		}
		_, err := fmt.Fprintf(l.w, "%s%s", before, eventLine(letter))
		return err
	}
	if l.n == 1 {
		if err := l.row("IDENTIFIER", "REASON", "AGE", "SEQ", "TYPE", "DETAIL"); err != nil {
			return err
		}
	}
	detail := letter.Detail
	if letter.Problem != nil {
		detail = letter.Problem.Error()
	}
	return l.row(letter.Identifier, string(letter.Reason), shortAge(l.now.Sub(letter.Stored)), fmt.Sprintf("#%d", letter.Sequence), string(letter.Type), detail)
}

// row writes a line. Columns are as wide as what they usually hold: nobody knows what is still to come.
func (l *dlqList) row(identifier, reason, age, sequence, typ, detail string) error {
	line := fmt.Sprintf("%-36s  %-20s  %5s  %-8s  %-10s  %s", printable(identifier), printable(reason), age, sequence, printable(typ), printable(detail))
	if line = strings.TrimRight(line, " "); l.width > 0 {
		line = fit(line, l.width)
	}
	_, err := fmt.Fprintln(l.w, line)
	return err
}

// end closes what is open.
func (l *dlqList) end() error {
	if l.form != "json" {
		return nil
	}
	closing := "\n]\n"
	if l.n == 0 {
		closing = "[]\n"
	}
	_, err := io.WriteString(l.w, closing)
	return err
}

// shortAge is an age in one unit: 45s, 12m, 30h, 9d.
func shortAge(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// printable shows a text from outside on a line of a terminal: nothing in it moves the cursor, changes colours or begins a
// new line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// showLetter writes all that an operator wants to know of a dead letter.
func showLetter(w io.Writer, l desk.Letter, now time.Time) {
	field := func(name, value string) {
		if value != "" {
			say(w, "  %-12s %s", name, printable(value))
		}
	}
	say(w, "%s  %s  #%d", printable(l.Identifier), printable(string(l.Reason)), l.Sequence)
	e := desk.Explain(l.Reason)
	if l.Problem != nil {
		e = desk.Explain("")
		field("problem", l.Problem.Error())
	}
	field("means", e.What)
	field("to do", e.Do)
	field("detail", l.Detail)
	field("type", string(l.Type))
	field("stored", l.Stored.UTC().Format(time.RFC3339)+", "+shortAge(now.Sub(l.Stored))+" ago, on "+l.Subject)
	if l.Problem != nil {
		field("message", string(l.Raw[:min(len(l.Raw), 512)]))
		return
	}
	field("declared", fmt.Sprintf("%s, on %s (sequence %d of %s, delivered %d times)", l.DeclaredAt.UTC().Format(time.RFC3339), l.Source.Subject, l.Source.Sequence, l.Source.Stream, l.Source.Deliveries))
	field("polls", fmt.Sprint(l.Polls))
	for _, part := range []struct {
		name string
		raw  json.RawMessage
	}{{"answer", l.Answer}, {"declaration", l.Declaration}} {
		if len(part.raw) == 0 || string(part.raw) == "null" {
			continue
		}
		var b strings.Builder
		if compact(&b, part.raw) == nil {
			field(part.name, b.String())
		}
	}
	if l.PayloadSize > 0 {
		field("payload", fmt.Sprintf("%d bytes: %.200q", l.PayloadSize, l.Payload))
	}
	if _, _, err := l.Declared(); err != nil {
		field("replay", "cannot be replayed: "+err.Error())
	} else {
		field("replay", fmt.Sprintf("statusworker dlq replay %s", l.Identifier))
	}
}

func compact(to io.Writer, raw []byte) error {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return err
	}
	_, err := to.Write(b.Bytes())
	return err
}
