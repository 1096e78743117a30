package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// sayProgressEvery is how often a command that is not at a terminal says how far it is.
const sayProgressEvery = 5 * time.Second

// progress shows how far something is: a bar on a terminal, otherwise a line every few seconds. What is written to it appears
// between, and never inside the bar. The embedding type counts, with mu held.
type progress struct {
	mu   sync.Mutex
	to   io.Writer
	most int64
	bar  *progressbar.ProgressBar // nil without a terminal

	stop chan struct{}
	over sync.WaitGroup
}

// start shows progress on w up to most, or without an end where that is 0. Without a terminal, soFar gives the line.
func (p *progress) start(w io.Writer, most int64, soFar func() string) {
	p.to, p.most, p.stop = w, most, make(chan struct{})
	if terminal(w) {
		if most == 0 {
			most = -1
		}
		p.bar = progressbar.NewOptions64(most, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(24),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(p.most > 0), progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetSpinnerChangeInterval(0)) // otherwise a goroutine of its own draws, into what is written here
		return
	}
	p.over.Go(func() { p.tell(soFar) })
}

func (p *progress) tell(soFar func() string) {
	ticker := time.NewTicker(sayProgressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			fmt.Fprintln(p, "so far: "+soFar())
		}
	}
}

// close takes the bar away.
func (p *progress) close() {
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
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(b)
}

func (p *progress) write(b []byte) (int, error) {
	if p.bar != nil {
		_ = p.bar.Clear()
		defer func() { _ = p.bar.RenderBlank() }()
	}
	return p.to.Write(b)
}

// draw moves the bar. The lock is held.
func (p *progress) draw(done int64, what string) {
	if p.bar == nil {
		return
	}
	p.bar.Describe(what)
	if p.most > 0 {
		_ = p.bar.Set64(min(done, p.most-1)) // full would end it
	} else {
		_ = p.bar.Add(1)
	}
}
