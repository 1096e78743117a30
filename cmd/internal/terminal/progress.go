package terminal

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// reportEvery is the time between two reports of progress without a terminal.
const reportEvery = 5 * time.Second

// Progress shows the progress of a command: a bar on a terminal, otherwise a line every few seconds. Lines written to
// it appear above the bar. It is safe for concurrent use.
type Progress struct {
	to        io.Writer
	total     int64
	stop      chan struct{}
	reporting sync.WaitGroup

	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil without a terminal
}

// NewProgress shows progress on w towards a total; 0 means that the total is unknown. If w is not a terminal, there is
// no bar: a line with the text of soFar is written at regular intervals.
func NewProgress(w io.Writer, total int64, soFar func() string) *Progress {
	p := &Progress{to: w, total: total, stop: make(chan struct{})}
	if !Is(w) {
		p.reporting.Go(func() { p.report(soFar) })
		return p
	}
	if total == 0 {
		total = -1
	}
	p.bar = progressbar.NewOptions64(
		total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(24),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(p.total > 0),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetSpinnerChangeInterval(0), // otherwise a goroutine redraws the bar between the lines
	)
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

// Close removes the bar.
func (p *Progress) Close() {
	close(p.stop)
	p.reporting.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish() // only drawing can fail
		p.bar = nil
	}
}

// Write writes complete lines.
func (p *Progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
		defer func() { _ = p.bar.RenderBlank() }()
	}
	return p.to.Write(b)
}

// Draw moves the bar to done, with a text beside it.
func (p *Progress) Draw(done int64, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
		return
	}
	p.bar.Describe(text)
	if p.total > 0 {
		_ = p.bar.Set64(min(done, p.total-1)) // the full value would end the bar
	} else {
		_ = p.bar.Add(1)
	}
}
