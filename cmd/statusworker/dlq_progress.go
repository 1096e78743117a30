package main

import (
	"fmt"
	"io"
	"strings"

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
	progress
	results []dlq.What
	n       map[dlq.What]int
	done    int
}

func newDLQProgress(w io.Writer, most int, results []dlq.What) *dlqProgress {
	p := &dlqProgress{results: results, n: map[dlq.What]int{}}
	if most <= barAbove {
		w = plainWriter{w}
	}
	p.start(w, int64(most), p.line)
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
	defer p.mu.Unlock()
	p.n[r.What]++
	p.done++
	if r.What == dlq.Left {
		switch left := p.n[r.What]; {
		case left <= leftAtMost:
			_, _ = p.write(fmt.Appendf(nil, "%s %s: %s: %s\n", l.Name(), schema.Printable(l.Identifier), r.What, schema.Printable(explained(r)))) // standard error: there is nobody to tell
		case left == leftAtMost+1:
			_, _ = p.write([]byte("more are left; only their number is told\n"))
		}
	}
	p.draw(int64(p.done), p.text())
}
