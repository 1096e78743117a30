package main

import (
	"strings"
	"unicode/utf8"
)

// cell is one field of a grid. Its paint is a terminal's colour, and takes no room.
type cell struct {
	text  string
	paint paint
	right bool
}

type paint string

// The colours in use.
const (
	plain   paint = ""
	faint   paint = "\x1b[2m"
	red     paint = "\x1b[31m"
	green   paint = "\x1b[32m"
	yellow  paint = "\x1b[33m"
	magenta paint = "\x1b[35m"
	unpaint       = "\x1b[0m"
)

func (c paint) on(s string) string {
	if c == plain || s == "" {
		return s
	}
	return string(c) + s + unpaint
}

// unpainted takes the colours out of a line.
var unpainted = strings.NewReplacer(string(faint), "", string(red), "", string(green), "", string(yellow), "", string(magenta), "", unpaint, "")

// grid gives rows of cells as lines whose columns stand below each other, none wider than width (0 is no bound). Columns
// are at least as wide as least says.
func grid(rows [][]cell, least []int, width int) []string {
	widths := append([]int(nil), least...)
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
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
			shown := fit(c.text, room)
			pad := strings.Repeat(" ", room-utf8.RuneCountInString(shown))
			switch {
			case c.right:
				b.WriteString(pad + c.paint.on(shown))
			case i == len(row)-1:
				b.WriteString(c.paint.on(shown))
			default:
				b.WriteString(c.paint.on(shown) + pad)
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

// fit cuts a text so that it has at most width columns.
func fit(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return string([]rune(s)[:width-1]) + "…"
}
