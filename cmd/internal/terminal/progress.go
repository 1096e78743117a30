package terminal

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// reportEvery is how often a command without a terminal reports how far it is.
const reportEvery = 5 * time.Second

// Progress shows how far a command is: a bar on a terminal, otherwise a line every few seconds. What is written to it
// appears between, and never inside the bar. It is safe for concurrent use.
type Progress struct {
	to   io.Writer
	most int64
	stop chan struct{}
	over sync.WaitGroup

	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil without a terminal
}

// NewProgress shows progress on w up to most, or without an end where that is 0. Without a terminal, soFar gives the
// line.
func NewProgress(w io.Writer, most int64, soFar func() string) *Progress {
	p := &Progress{to: w, most: most, stop: make(chan struct{})}
	if !Is(w) {
		p.over.Go(func() { p.report(soFar) })
		return p
	}
	if most == 0 {
		most = -1
	}
	p.bar = progressbar.NewOptions64(
		most,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(24),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(p.most > 0),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetSpinnerChangeInterval(0),
	) // otherwise a goroutine of its own draws, into what is written here
	return p
}

func (p *Progress) report(soFar func() string) {
	ticker := time.NewTicker(reportEvery)
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

// Close takes the bar away.
func (p *Progress) Close() {
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
func (p *Progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
		defer func() { _ = p.bar.RenderBlank() }()
	}
	return p.to.Write(b)
}

// Draw moves the bar to done of most, with a text beside it.
func (p *Progress) Draw(done int64, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
		return
	}
	p.bar.Describe(text)
	if p.most > 0 {
		_ = p.bar.Set64(min(done, p.most-1)) // full would end it
	} else {
		_ = p.bar.Add(1)
	}
}
