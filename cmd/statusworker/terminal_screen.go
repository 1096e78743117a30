package main

import (
	"bytes"
	"fmt"
	"io"

	"golang.org/x/term"
)

// widest is as wide as what is drawn grows.
const widest = 110

// columns is how wide a terminal is, or 0 where w is none.
func columns(w io.Writer) int {
	if !terminal(w) {
		return 0
	}
	width, _ := terminalSize(w)
	return width
}

// terminalSize is the size of a terminal; 80 by 24 where it does not say.
func terminalSize(w io.Writer) (width, height int) {
	if f, ok := file(w); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return 80, 24
}

// Terminal control.
const (
	hideCursor   = "\x1b[?25l"
	showCursor   = "\x1b[?25h"
	clearLine    = "\x1b[K"
	clearBelow   = "\x1b[J"
	clearScreen  = "\x1b[2J\x1b[H"
	cursorUpText = "\x1b[%dA\r"
)

// screen draws frames over each other.
type screen struct {
	bare          bool // without colours
	width, height int
	lines         int // of the last frame
}

// over gives what turns the last frame into this one, whose lines fit into the terminal.
func (s *screen) over(frame []string, width, height int) []byte {
	var b bytes.Buffer
	switch {
	case s.lines > 0 && (width != s.width || height != s.height):
		b.WriteString(clearScreen) // the terminal may have broken the lines of the last frame
	case s.lines > 0:
		fmt.Fprintf(&b, cursorUpText, s.lines)
	}
	s.width, s.height, s.lines = width, height, len(frame)
	for _, line := range frame {
		if s.bare {
			line = unpainted.Replace(line)
		}
		b.WriteString(line)
		b.WriteString(clearLine + "\n")
	}
	b.WriteString(clearBelow)
	return b.Bytes()
}
