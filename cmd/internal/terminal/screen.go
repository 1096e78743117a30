package terminal

import (
	"bytes"
	"fmt"
)

// MaxWidth is the maximum width of a table.
const MaxWidth = 110

// Terminal control sequences.
const (
	HideCursor   = "\x1b[?25l"
	ShowCursor   = "\x1b[?25h"
	clearLine    = "\x1b[K"
	clearBelow   = "\x1b[J"
	clearScreen  = "\x1b[2J\x1b[H"
	cursorUpText = "\x1b[%dA\r"
)

// Screen replaces one frame by the next.
type Screen struct {
	Bare bool // no colours

	width, height int
	lines         int // of the last frame
}

// Over returns the bytes that replace the last frame by this one. Its lines must fit the terminal.
func (s *Screen) Over(frame []string, width, height int) []byte {
	var b bytes.Buffer
	switch {
	case s.lines > 0 && (width != s.width || height != s.height):
		b.WriteString(clearScreen) // the terminal may have wrapped the lines of the last frame
	case s.lines > 0:
		fmt.Fprintf(&b, cursorUpText, s.lines)
	}
	s.width, s.height, s.lines = width, height, len(frame)
	for _, line := range frame {
		if s.Bare {
			line = Unpainted(line)
		}
		b.WriteString(line)
		b.WriteString(clearLine + "\n")
	}
	b.WriteString(clearBelow)
	return b.Bytes()
}
