// Package dlqview shows dead letters, and what becomes of them.
package dlqview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

const (
	// listPage is how many rows are laid out together. Columns grow from page to page, and never shrink.
	listPage = 200
	// maxDetail is how much of a detail is shown where no terminal bounds it.
	maxDetail = 200
	// detailBeside is how wide a terminal must be for details beside the rest. On a narrower one they are below it.
	detailBeside = 120
	detailIndent = "      "
)

// List writes dead letters as they come, in one of three forms.
type List struct {
	w     io.Writer
	form  string
	width int // of the terminal; 0 is no bound
	now   time.Time
	n     int
	rows  [][]terminal.Cell
	least []int
}

// NewList gives a List that writes to w in a form: table, json or ndjson. Width is that of the terminal; 0 is no bound.
func NewList(w io.Writer, form string, width int) *List {
	return &List{w: w, form: form, width: width, now: time.Now()}
}

// Add writes a dead letter, or keeps it for the page.
func (l *List) Add(letter dlq.DeadLetter) error {
	l.n++
	switch l.form {
	case "ndjson":
		_, err := fmt.Fprintf(l.w, "%s\n", entry(letter))
		return err
	case "json":
		before := ",\n"
		if l.n == 1 {
			before = "[\n"
		}
		_, err := fmt.Fprintf(l.w, "%s%s", before, entry(letter))
		return err
	}
	if l.n == 1 {
		heading := "DETAIL"
		if l.narrow() {
			heading = ""
		}
		l.row(terminal.Faint, "SEQ", "AGE", "REASON", "IDENTIFIER", "TYPE", heading)
	}
	detail := letter.Detail
	if letter.Problem != nil {
		detail = letter.Problem.Error()
	}
	l.row(
		terminal.Plain,
		letter.Name(),
		shortAge(l.now.Sub(letter.Stored)),
		string(letter.Reason),
		letter.Identifier,
		string(letter.Type),
		detail,
	)
	if len(l.rows) < listPage {
		return nil
	}
	return l.flush()
}

// narrow reports whether details are on lines of their own.
func (l *List) narrow() bool { return l.width > 0 && l.width < detailBeside }

func (l *List) row(p terminal.Paint, texts ...string) {
	if l.width == 0 {
		p = terminal.Plain
	}
	cells := make([]terminal.Cell, len(texts))
	for i, text := range texts {
		cells[i] = terminal.Cell{Text: terminal.Fit(schema.Printable(text), maxDetail), Paint: p}
	}
	cells[0].Right, cells[1].Right = true, true
	l.rows = append(l.rows, cells)
}

// flush writes the page.
func (l *List) flush() error {
	shown := l.rows
	if l.narrow() {
		shown = nil
		for _, row := range l.rows {
			shown = append(shown, row[:len(row)-1])
		}
	}
	for i, line := range terminal.Grid(shown, l.least, l.width) {
		line = strings.TrimRight(line, " ")
		if row := l.rows[i]; l.narrow() && row[len(row)-1].Text != "" {
			line += "\n" + detailIndent + terminal.Fit(row[len(row)-1].Text, l.width-len(detailIndent))
		}
		if _, err := fmt.Fprintln(l.w, line); err != nil {
			return err
		}
	}
	for _, row := range l.rows {
		for i, c := range row[:len(row)-1] {
			if i == len(l.least) {
				l.least = append(l.least, 0)
			}
			l.least[i] = max(l.least[i], utf8.RuneCountInString(c.Text))
		}
	}
	l.rows = nil
	return nil
}

// Count is how many dead letters were added.
func (l *List) Count() int { return l.n }

// End writes what is still to be written, and closes what is open.
func (l *List) End() error {
	if l.form != "json" {
		return l.flush()
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

const (
	// fieldWidth is where the values of fields begin.
	fieldWidth = 15
	// maxMessage is how much is shown of what is no JSON.
	maxMessage = 400
)

// Show writes all that an operator wants to know of a dead letter.
func Show(w io.Writer, l dlq.DeadLetter, now time.Time, width int) {
	if width == 0 || width > terminal.TextWidth {
		width = terminal.TextWidth
	}
	field := func(name, value string) {
		if value == "" {
			return
		}
		for i, line := range terminal.Wrap(schema.Printable(value), width-fieldWidth) {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(w, "  %-*s%s\n", fieldWidth-2, name, line)
		}
	}
	at := func(t time.Time) string {
		return t.UTC().Format("2006-01-02 15:04:05 UTC") + " (" + shortAge(now.Sub(t)) + " ago)"
	}
	fmt.Fprintf(w, "%s  %s  %s\n", schema.Printable(l.Identifier), schema.Printable(string(l.Reason)), l.Name())
	means, advice := l.Reason.Text(), l.Reason.Advice()
	if l.Problem != nil {
		field("problem", l.Problem.Error())
	}
	if l.Problem != nil || !l.Reason.Valid() {
		means, advice = "This stage has no such reason: somebody else published the message.",
			"Find out who publishes on "+schema.SubjectsFailed+" and take that right away; then purge it."
	}
	field("means", means)
	field("to do", advice)
	field("detail", l.Detail)
	if status := lastStatus(l); status.Known() {
		field("status", string(status)+": "+status.Text())
	}
	field("type", string(l.Type))
	if l.Problem == nil {
		field(
			"declared",
			fmt.Sprintf(
				"%s on %s, sequence %d of %s, delivered %s",
				at(l.DeclaredAt),
				l.Source.Subject,
				l.Source.Sequence,
				l.Source.Stream,
				times(l.Source.Deliveries),
			),
		)
		field("ended", at(l.ObservedAt))
		if l.Polls > 0 { // delayed naks do not count them
			field("polled", times(l.Polls))
		}
	}
	field("stored", at(l.Stored)+" on "+l.Subject)
	field("trace", l.Traceparent)
	if l.Problem != nil {
		field("message", fmt.Sprintf("%d bytes: %+q", len(l.Message), l.Message[:min(len(l.Message), maxMessage)]))
		field("purge", "statusworker dlq purge "+l.Name())
		return
	}
	field("answer", answerOf(l))
	showJSON(w, l)
	if l.PayloadSize > 0 {
		field("payload", fmt.Sprintf("%d bytes: %+q", l.PayloadSize, l.Payload[:min(len(l.Payload), maxMessage)]))
	}
	field("replay", replayOf(l))
	field("purge", "statusworker dlq purge "+l.Name())
}

// replayOf is the command that replays a dead letter, or why none can.
func replayOf(l dlq.DeadLetter) string {
	subject, message, err := l.Declared()
	if err != nil {
		return "cannot be replayed: " + err.Error()
	}
	if _, refused := schema.DecodeFrom(subject, message); refused != nil {
		return "would bring it back here: " + refused.Error()
	}
	return "statusworker dlq replay " + l.Name()
}

// answerOf is an answer of the vendor that is not whole JSON, or nothing.
func answerOf(l dlq.DeadLetter) string {
	if len(l.AnswerPayload) == 0 {
		return ""
	}
	what := "not JSON"
	if l.AnswerSize > len(l.AnswerPayload) {
		what = "cut"
	}
	size := max(l.AnswerSize, len(l.AnswerPayload))
	return fmt.Sprintf("%s, %d bytes: %+q", what, size, l.AnswerPayload[:min(len(l.AnswerPayload), maxMessage)])
}

// showJSON writes the vendor's last answer and the declaration, where they are JSON.
func showJSON(w io.Writer, l dlq.DeadLetter) {
	for _, part := range []struct {
		name string
		raw  json.RawMessage
	}{{"answer", l.Answer}, {"declaration", l.Declaration}} {
		var b bytes.Buffer
		if len(part.raw) == 0 || string(part.raw) == "null" || json.Indent(&b, part.raw, "", "  ") != nil {
			continue
		}
		for line := range strings.Lines(string(escaped(b.Bytes()))) {
			fmt.Fprintf(w, "  %-*s%s\n", fieldWidth-2, part.name, strings.TrimSuffix(line, "\n"))
			part.name = ""
		}
	}
}

// lastStatus is the status in the vendor's last answer; empty where there is none.
func lastStatus(l dlq.DeadLetter) schema.Status {
	var answer struct {
		Status schema.Status `json:"status"`
	}
	if json.Unmarshal(l.Answer, &answer) != nil {
		return ""
	}
	return answer.Status
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
