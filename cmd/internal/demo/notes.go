package demo

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/terminal"
)

// notes takes the worker's log lines. While a table is drawn they are kept back, and shown below it.
type notes struct {
	mu    sync.Mutex
	to    io.Writer
	keep  bool
	lines []string
}

func newNotes(to io.Writer, keep bool) *notes { return &notes{to: to, keep: keep} }

// Write takes whole lines.
func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.keep {
		return n.to.Write(b)
	}
	n.lines = append(n.lines, strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// last gives the last lines that were kept back.
func (n *notes) last(most int) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lines[max(0, len(n.lines)-most):])
}

// open writes what was kept back, in lines of at most width columns (0 is no bound), and keeps nothing back any more.
func (n *notes) open(width int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keep && len(n.lines) > 0 {
		fmt.Fprintf(n.to, "\nThe worker's log\n")
		for _, line := range n.lines {
			line = "  " + line
			if width > 0 {
				line = terminal.Fit(line, width)
			}
			fmt.Fprintf(n.to, "%s\n", line)
		}
	}
	n.keep, n.lines = false, nil
}

// lineFormat writes log lines for people who watch.
type lineFormat struct{}

func (lineFormat) Format(e *logrus.Entry) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s: %s", e.Time.Format("15:04:05"), e.Level, e.Message)
	names := make([]string, 0, len(e.Data))
	for name := range e.Data {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "  %s=%v", name, e.Data[name])
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
