// Package dlqview formats dead letters, and the results of commands on them.
package dlqview

import (
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
	l.row(terminal.Plain, letter.Name(), ShortAge(l.now.Sub(letter.Stored)), string(letter.Reason), letter.Identifier,
		string(letter.Type), letter.Why())
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

// ShortAge formats an age in one unit: 45s, 12m, 30h, 9d.
func ShortAge(d time.Duration) string {
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
