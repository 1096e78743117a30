package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"statusworker/cmd/internal/terminal"
)

// notes receives the worker's log. While a table is drawn, it buffers the lines, which the table shows.
type notes struct {
	mu    sync.Mutex
	to    io.Writer
	live  bool // a table is drawn
	lines []string
}

func newNotes(to io.Writer, live bool) *notes { return &notes{to: to, live: live} }

// Write takes complete lines.
func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.live {
		return n.to.Write(b)
	}
	n.lines = append(n.lines, strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// last returns the last lines in the buffer, at most count.
func (n *notes) last(count int) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lines[max(0, len(n.lines)-count):])
}

// open writes the buffered lines, cut to width columns (0 is unlimited), and stops buffering.
func (n *notes) open(width int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live && len(n.lines) > 0 {
		fmt.Fprintf(n.to, "\nThe worker's log\n")
		for _, line := range n.lines {
			line = "  " + line
			if width > 0 {
				line = terminal.Fit(line, width)
			}
			fmt.Fprintf(n.to, "%s\n", line)
		}
	}
	n.live, n.lines = false, nil
}
