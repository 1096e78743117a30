package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// sayProgressEvery is how often a declare that is not at a terminal says how far it is.
const sayProgressEvery = 5 * time.Second

// declareCounts are what became of messages.
type declareCounts struct {
	read, declared, waiting, refused, failed int
}

// declareProgress counts what becomes of messages, and shows it: a bar on a terminal, otherwise a line every few
// seconds. What is written to it appears between, and never inside the bar.
type declareProgress struct {
	mu   sync.Mutex
	to   io.Writer
	n    declareCounts
	size int64
	done int64
	bar  *progressbar.ProgressBar // nil without a terminal

	stop chan struct{}
	over sync.WaitGroup
}

// newDeclareProgress shows progress on w; size is how many bytes there are to read, or 0 where nobody knows.
func newDeclareProgress(w io.Writer, size int64) *declareProgress {
	p := &declareProgress{to: w, size: size, stop: make(chan struct{})}
	if terminal(w) {
		most := size
		if most == 0 {
			most = -1
		}
		p.bar = progressbar.NewOptions64(most, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(24),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(size > 0), progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetSpinnerChangeInterval(0)) // otherwise a goroutine of its own draws, into what is written here
		return p
	}
	p.over.Add(1)
	go p.tell()
	return p
}

func (p *declareProgress) tell() {
	defer p.over.Done()
	ticker := time.NewTicker(sayProgressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			n := p.counts()
			fmt.Fprintf(p, "so far: read %d, declared %d, already waiting %d, refused %d, failed %d\n",
				n.read, n.declared, n.waiting, n.refused, n.failed)
		}
	}
}

// close takes the bar away.
func (p *declareProgress) close() {
	close(p.stop)
	p.over.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish() // it can only fail to draw
		p.bar = nil
	}
}

// Write writes whole lines.
func (p *declareProgress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(b)
}

func (p *declareProgress) write(b []byte) (int, error) {
	if p.bar != nil {
		_ = p.bar.Clear()
		defer func() { _ = p.bar.RenderBlank() }()
	}
	return p.to.Write(b)
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
	p.add(c, &p.n.refused, "refused: "+oneLine(err))
}
func (p *declareProgress) failed(c candidate, err error) {
	p.add(c, &p.n.failed, "not declared: "+oneLine(err))
}

func (p *declareProgress) add(c candidate, n *int, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*n++
	p.done += int64(c.size)
	if line != "" {
		_, _ = p.write([]byte(c.where + ": " + line + "\n")) // standard error: there is nobody to tell
	}
	if p.bar == nil {
		return
	}
	what := fmt.Sprintf("%d declared", p.n.declared)
	if p.n.waiting > 0 {
		what += fmt.Sprintf(", %d waiting", p.n.waiting)
	}
	p.bar.Describe(what)
	if p.size > 0 {
		_ = p.bar.Set64(min(p.done, p.size-1)) // full would end it
	} else {
		_ = p.bar.Add(1)
	}
}
