// Package terminal formats text for people: tables, wrapped text, frames that replace each other, and progress. It
// detects what a terminal supports.
package terminal

import (
	"strings"
	"unicode/utf8"
)

// Cell is one field of a grid. Its Paint does not count for the width.
type Cell struct {
	Text  string
	Paint Paint
	Right bool
}

// Paint is the control sequence of a colour.
type Paint string

// The colours in use.
const (
	Plain   Paint = ""
	Faint   Paint = "\x1b[2m"
	Red     Paint = "\x1b[31m"
	Green   Paint = "\x1b[32m"
	Yellow  Paint = "\x1b[33m"
	Magenta Paint = "\x1b[35m"
	unpaint       = "\x1b[0m"
)

// On returns the text in this colour.
func (c Paint) On(s string) string {
	if c == Plain || s == "" {
		return s
	}
	return string(c) + s + unpaint
}

// Unpainted removes the colours from a text.
func Unpainted(s string) string { return unpainted.Replace(s) }

var unpainted = strings.NewReplacer(
	string(Faint), "", string(Red), "", string(Green), "", string(Yellow), "", string(Magenta), "", unpaint, "")

// Grid formats rows of cells as lines with aligned columns. No line is wider than width (0 is unlimited). minWidths are
// the minimum widths of the columns.
func Grid(rows [][]Cell, minWidths []int, width int) []string {
	widths := append([]int(nil), minWidths...)
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		var b strings.Builder
		at := 0
		for i, c := range row {
			room := widths[i]
			if width > 0 {
				room = min(room, width-at)
			}
			shown := Fit(c.Text, room)
			pad := strings.Repeat(" ", room-utf8.RuneCountInString(shown))
			switch {
			case c.Right:
				b.WriteString(pad + c.Paint.On(shown))
			case i == len(row)-1:
				b.WriteString(c.Paint.On(shown))
			default:
				b.WriteString(c.Paint.On(shown) + pad)
			}
			if at += widths[i] + 2; width > 0 && at >= width {
				break
			}
			if i < len(row)-1 {
				b.WriteString("  ")
			}
		}
		lines[n] = b.String()
	}
	return lines
}

// Fit cuts a text to width columns.
func Fit(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return string([]rune(s)[:width-1]) + "…"
}
