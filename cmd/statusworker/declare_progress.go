package main

import (
	"fmt"
	"io"
	"sync"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/terminal"
)

// declareCounts are what became of messages.
type declareCounts struct {
	read, declared, waiting, refused, failed int
}

// declareProgress counts what becomes of messages, and shows it.
type declareProgress struct {
	*terminal.Progress

	mu   sync.Mutex
	n    declareCounts
	done int64 // bytes
}

// newDeclareProgress shows progress on w; size is how many bytes there are to read, or 0 where nobody knows.
func newDeclareProgress(w io.Writer, size int64) *declareProgress {
	p := &declareProgress{}
	p.Progress = terminal.NewProgress(w, size, func() string {
		n := p.counts()
		return fmt.Sprintf("read %d, declared %d, already waiting %d, refused %d, failed %d", n.read, n.declared, n.waiting, n.refused, n.failed)
	})
	return p
}

func (p *declareProgress) counts() declareCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

func (p *declareProgress) read() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n.read++
}

func (p *declareProgress) declared(c candidate) { p.add(c, &p.n.declared, "") }
func (p *declareProgress) waiting(c candidate)  { p.add(c, &p.n.waiting, "") }
func (p *declareProgress) refused(c candidate, err error) {
	p.add(c, &p.n.refused, "refused: "+cli.OneLine(err))
}
func (p *declareProgress) failed(c candidate, err error) {
	p.add(c, &p.n.failed, "not declared: "+cli.OneLine(err))
}

// report writes a line for people.
func (p *declareProgress) report(line string) { fmt.Fprintln(p, line) }

func (p *declareProgress) add(c candidate, n *int, line string) {
	p.mu.Lock()
	*n++
	p.done += int64(c.size)
	done, what := p.done, fmt.Sprintf("%d declared", p.n.declared)
	if p.n.waiting > 0 {
		what += fmt.Sprintf(", %d waiting", p.n.waiting)
	}
	p.mu.Unlock()
	if line != "" {
		p.report(c.where + ": " + line)
	}
	p.Draw(done, what)
}
