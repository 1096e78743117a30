package producer

import (
	"fmt"
	"io"
	"sync"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/producer/source"
	"statusworker/cmd/internal/terminal"
)

// Counts are the results of messages.
type Counts struct {
	Read, Declared, Waiting, Processed, Invalid, NotStored int
}

// String returns the results on one line.
func (n Counts) String() string {
	return fmt.Sprintf("declared %d, already waiting %d, already processed %d, invalid %d, not stored %d",
		n.Declared, n.Waiting, n.Processed, n.Invalid, n.NotStored)
}

// Progress counts the results of messages, and shows the progress.
type Progress struct {
	*terminal.Progress

	mu   sync.Mutex
	n    Counts
	done int64 // bytes
}

// NewProgress shows progress on w. The size of the input is in bytes, or 0 if it is unknown.
func NewProgress(w io.Writer, size int64) *Progress {
	p := &Progress{}
	p.Progress = terminal.NewProgress(w, size, func() string {
		n := p.Counts()
		return fmt.Sprintf("read %d, %s", n.Read, n)
	})
	return p
}

// Counts returns the results so far.
func (p *Progress) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

func (p *Progress) read() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n.Read++
}

func (p *Progress) declared(c source.Candidate)  { p.add(c, &p.n.Declared, "") }
func (p *Progress) waiting(c source.Candidate)   { p.add(c, &p.n.Waiting, "") }
func (p *Progress) processed(c source.Candidate) { p.add(c, &p.n.Processed, "") }
func (p *Progress) invalid(c source.Candidate, err error) {
	p.add(c, &p.n.Invalid, "invalid: "+cli.OneLine(err))
}
func (p *Progress) failed(c source.Candidate, err error) {
	p.add(c, &p.n.NotStored, "not stored: "+cli.OneLine(err))
}

// report writes a line for people.
func (p *Progress) report(line string) { fmt.Fprintln(p, line) }

func (p *Progress) add(c source.Candidate, n *int, line string) {
	p.mu.Lock()
	*n++
	p.done += int64(c.Size)
	done, what := p.done, fmt.Sprintf("%d declared", p.n.Declared)
	if p.n.Waiting > 0 {
		what += fmt.Sprintf(", %d waiting", p.n.Waiting)
	}
	if p.n.Processed > 0 {
		what += fmt.Sprintf(", %d processed", p.n.Processed)
	}
	p.mu.Unlock()
	if line != "" {
		p.report(c.Where + ": " + line)
	}
	p.Draw(done, what)
}
