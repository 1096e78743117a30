package main

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

// dlqProgress counts what becomes of dead letters, and shows it.
type dlqProgress struct {
	*terminal.Progress
	results []dlq.What

	mu   sync.Mutex
	n    map[dlq.What]int
	done int
}

func newDLQProgress(w io.Writer, most int, results []dlq.What) *dlqProgress {
	p := &dlqProgress{results: results, n: map[dlq.What]int{}}
	if most <= barAbove {
		w = plainWriter{w}
	}
	p.Progress = terminal.NewProgress(w, int64(most), p.line)
	return p
}

// plainWriter hides that a writer is a terminal.
type plainWriter struct{ io.Writer }

// line says what became of how many.
func (p *dlqProgress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text()
}

func (p *dlqProgress) text() string {
	var parts []string
	for _, r := range p.results {
		parts = append(parts, fmt.Sprintf("%s %d", r, p.n[r]))
	}
	return strings.Join(parts, ", ")
}

// left is how many dead letters are as they were.
func (p *dlqProgress) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n[dlq.Left]
}

func (p *dlqProgress) add(l dlq.DeadLetter, r dlq.Result) {
	p.mu.Lock()
	p.n[r.What]++
	p.done++
	left, done, text := p.n[dlq.Left], p.done, p.text()
	p.mu.Unlock()
	if r.What == dlq.Left {
		switch {
		case left <= leftAtMost:
			fmt.Fprintf(p, "%s %s: %s: %s\n", l.Name(), schema.Printable(l.Identifier), r.What, schema.Printable(r.Why))
		case left == leftAtMost+1:
			fmt.Fprintln(p, "more are left; only their number is shown")
		}
	}
	p.Draw(int64(done), text)
}
