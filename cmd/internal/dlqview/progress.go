package dlqview

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"statusworker/cmd/internal/terminal"
	"statusworker/publisher/dlq"
	"statusworker/schema"
)

const (
	// barAbove is the number of dead letters above which a bar is shown.
	barAbove = 100
	// maxNamed is how many dead letters that are unchanged are shown with their reason.
	maxNamed = 50
)

// Progress counts the results of dead letters, and shows the progress.
type Progress struct {
	*terminal.Progress
	results []dlq.Action

	mu      sync.Mutex
	n       map[dlq.Action]int
	done    int
	waiting map[uint64]bool // sequences of dead letters that wait
	waited  bool            // one had to wait
}

// NewProgress shows progress on w towards a total. Its line has the results in the given order.
func NewProgress(w io.Writer, total int, results []dlq.Action) *Progress {
	p := &Progress{results: results, n: map[dlq.Action]int{}, waiting: map[uint64]bool{}}
	if total <= barAbove {
		w = plainWriter{w}
	}
	p.Progress = terminal.NewProgress(w, int64(total), p.Line)
	return p
}

// plainWriter hides that a writer is a terminal.
type plainWriter struct{ io.Writer }

// Line returns the number of each result.
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
	if len(p.waiting) > 0 {
		parts = append(parts, fmt.Sprintf("%s %d", dlq.Waiting, len(p.waiting)))
	}
	return strings.Join(parts, ", ")
}

// Left returns how many dead letters are unchanged.
func (p *Progress) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n[dlq.Unchanged]
}

// Add counts a result. It shows the reason if the dead letter was left unchanged, and if it is the first that waits.
func (p *Progress) Add(l dlq.DeadLetter, r dlq.Result) {
	p.mu.Lock()
	firstToWait := r.Action == dlq.Waiting && !p.waited
	if r.Action == dlq.Waiting {
		p.waiting[l.Sequence], p.waited = true, true
	} else {
		delete(p.waiting, l.Sequence)
		p.n[r.Action]++
		p.done++
	}
	left, done, text := p.n[dlq.Unchanged], p.done, p.text()
	p.mu.Unlock()
	switch {
	case firstToWait:
		fmt.Fprintf(p, "%s %s: %s for up to %s: %s\n", l.Name(), schema.Printable(l.Identifier), r.Action,
			schema.Duration(time.Until(r.Until).Round(time.Second)), schema.Printable(Cause(r)))
	case r.Action == dlq.Unchanged:
		switch {
		case left <= maxNamed:
			fmt.Fprintf(p, "%s %s: %s: %s\n", l.Name(), schema.Printable(l.Identifier), r.Action,
				schema.Printable(Explain(r)))
		case left == maxNamed+1:
			fmt.Fprintln(p, "more are unchanged; they are only counted")
		}
	}
	p.Draw(int64(done), text)
}
