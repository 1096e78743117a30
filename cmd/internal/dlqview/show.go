// Package dlqview formats dead letters, and the results of commands on them.
package dlqview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"statusworker/cmd/internal/showview"
	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

const (
	// listPage is how many rows are formatted together. Columns can only grow from page to page.
	listPage = 200
	// maxDetail limits a detail where the output is not a terminal.
	maxDetail = 200
	// detailBeside is the minimum width of a terminal for details in a column. On a narrower one they get their own
	// line.
	detailBeside = 120
	detailIndent = "      "
)

// List writes dead letters in one of three formats, as they are read.
type List struct {
	w      io.Writer
	format string
	width  int // of the terminal; 0 is unlimited
	now    time.Time
	n      int
	rows   [][]terminal.Cell
	widths []int // minimum widths of the columns
}

// NewList returns a List that writes to w. The format is table, json or ndjson. A width of 0 is unlimited.
func NewList(w io.Writer, format string, width int) *List {
	return &List{w: w, format: format, width: width, now: time.Now()}
}

// Add writes a dead letter, or buffers it for the page.
func (l *List) Add(letter dlq.DeadLetter) error {
	l.n++
	switch l.format {
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
	l.row(terminal.Plain, letter.Name(), shortAge(l.now.Sub(letter.Stored)), string(letter.Reason), letter.Identifier,
		string(letter.Type), detail)
	if len(l.rows) < listPage {
		return nil
	}
	return l.flush()
}

// narrow reports whether details get their own lines.
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
	for i, line := range terminal.Grid(shown, l.widths, l.width) {
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
			if i == len(l.widths) {
				l.widths = append(l.widths, 0)
			}
			l.widths[i] = max(l.widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	l.rows = nil
	return nil
}

// Count returns how many dead letters were added.
func (l *List) Count() int { return l.n }

// End writes the last page, or the end of the JSON array.
func (l *List) End() error {
	if l.format != "json" {
		return l.flush()
	}
	closing := "\n]\n"
	if l.n == 0 {
		closing = "[]\n"
	}
	_, err := io.WriteString(l.w, closing)
	return err
}

// shortAge formats an age in one unit: 45s, 12m, 30h, 9d.
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

// maxMessage limits how much is shown of a message that is not JSON.
const maxMessage = 400

// Show writes everything about a dead letter for people.
func Show(w io.Writer, l dlq.DeadLetter, now time.Time, width int) {
	if width == 0 || width > terminal.TextWidth {
		width = terminal.TextWidth
	}
	p := page{w: w, now: now, width: width}
	fmt.Fprintf(w, "%s  %s  %s\n", schema.Printable(l.Identifier), schema.Printable(string(l.Reason)), l.Name())
	means, advice := l.Reason.Text(), l.Reason.Advice()
	if l.Problem != nil {
		p.field("problem", l.Problem.Error())
	}
	if l.Problem != nil || !l.Reason.Valid() {
		means, advice = "statusworker has no such reason: another program published the message.",
			"Find out who publishes on "+schema.SubjectsFailed+" and revoke that permission; then purge it."
	}
	p.field("means", means)
	p.field("to do", advice)
	p.field("detail", l.Detail)
	if status := lastStatus(l); status.Known() {
		p.field("status", string(status)+": "+status.Text())
	}
	p.field("type", string(l.Type))
	if l.Problem == nil {
		p.field("declared", fmt.Sprintf("%s on %s, sequence %d of %s, delivered %s",
			p.at(l.DeclaredAt), l.Source.Subject, l.Source.Sequence, l.Source.Stream, times(l.Source.Deliveries)))
		p.field("ended", p.at(l.ObservedAt))
		if l.Polls > 0 { // not counted with delayed naks
			p.field("polled", times(l.Polls))
		}
		for _, line := range showview.History(l.History[:min(len(l.History), schema.MaxHistory)], width) {
			fmt.Fprintln(w, line)
		}
	}
	p.field("stored", p.at(l.Stored)+" on "+l.Subject)
	p.field("trace", l.Traceparent)
	if l.Problem != nil {
		p.field("message", excerpt(len(l.Message), l.Message))
	} else {
		p.field("answer", answerOf(l))
		showJSON(w, l)
		if l.PayloadSize > 0 {
			p.field("payload", excerpt(l.PayloadSize, l.Payload))
		}
		p.field("replay", replayOf(l))
	}
	p.field("purge", "statusworker dlq purge "+l.Name())
}

// page writes named fields.
type page struct {
	w     io.Writer
	now   time.Time
	width int
}

// field writes a field, unless its value is empty.
func (p page) field(name, value string) {
	for _, line := range terminal.Fields(name, value, p.width) {
		fmt.Fprintln(p.w, line)
	}
}

func (p page) at(t time.Time) string {
	return t.UTC().Format("2006-01-02 15:04:05 UTC") + " (" + shortAge(p.now.Sub(t)) + " ago)"
}

// excerpt shows the beginning of data that is not JSON.
func excerpt(size int, data []byte) string {
	return fmt.Sprintf("%d bytes: %+q", size, data[:min(len(data), maxMessage)])
}

// replayOf returns the command that replays a dead letter, or why it cannot be replayed.
func replayOf(l dlq.DeadLetter) string {
	subject, message, err := l.Declared()
	if err != nil {
		return "cannot be replayed: " + err.Error()
	}
	if _, refused := schema.DecodeFrom(subject, message); refused != nil {
		return "would produce another dead letter: " + refused.Error()
	}
	return "statusworker dlq replay " + l.Name()
}

// answerOf returns an answer of the vendor that is not complete JSON, or "".
func answerOf(l dlq.DeadLetter) string {
	if len(l.AnswerPayload) == 0 {
		return ""
	}
	what := "not JSON"
	if l.AnswerSize > len(l.AnswerPayload) {
		what = "truncated"
	}
	return what + ", " + excerpt(max(l.AnswerSize, len(l.AnswerPayload)), l.AnswerPayload)
}

// showJSON writes the vendor's last answer and the declaration, if they are JSON.
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
			fmt.Fprintf(w, "  %-*s%s\n", terminal.FieldIndent-2, part.name, strings.TrimSuffix(line, "\n"))
			part.name = ""
		}
	}
}

// lastStatus returns the status in the vendor's last answer, or "".
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
