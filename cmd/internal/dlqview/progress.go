package dlqview

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

const (
	// barAbove is above how many a bar is shown.
	barAbove = 100
	// leftAtMost is how many that were left are named, each with its reason.
	leftAtMost = 50
)

// Progress counts what becomes of dead letters, and shows it.
type Progress struct {
	*terminal.Progress
	results []dlq.What

	mu   sync.Mutex
	n    map[dlq.What]int
	done int
}

// NewProgress shows progress on w up to most. The line has the results in their order.
func NewProgress(w io.Writer, most int, results []dlq.What) *Progress {
	p := &Progress{results: results, n: map[dlq.What]int{}}
	if most <= barAbove {
		w = plainWriter{w}
	}
	p.Progress = terminal.NewProgress(w, int64(most), p.Line)
	return p
}

// plainWriter hides that a writer is a terminal.
type plainWriter struct{ io.Writer }

// Line says what became of how many.
func (p *Progress) Line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text()
}

func (p *Progress) text() string {
	var parts []string
	for _, r := range p.results {
		parts = append(parts, fmt.Sprintf("%s %d", r, p.n[r]))
	}
	return strings.Join(parts, ", ")
}

// Left is how many dead letters are as they were.
func (p *Progress) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n[dlq.Left]
}

// Add counts what became of a dead letter. One that was left as it is is named, with the reason.
func (p *Progress) Add(l dlq.DeadLetter, r dlq.Result) {
	p.mu.Lock()
	p.n[r.What]++
	p.done++
	left, done, text := p.n[dlq.Left], p.done, p.text()
	p.mu.Unlock()
	if r.What == dlq.Left {
		switch {
		case left <= leftAtMost:
			fmt.Fprintf(
				p,
				"%s %s: %s: %s\n",
				l.Name(),
				schema.Printable(l.Identifier),
				r.What,
				schema.Printable(Explain(r)),
			)
		case left == leftAtMost+1:
			fmt.Fprintln(p, "more are left; only their number is shown")
		}
	}
	p.Draw(int64(done), text)
}
