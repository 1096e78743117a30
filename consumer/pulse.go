package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/consumer/clock"
	"statusworker/schema"
)

const (
	pulseEvery = 500 * time.Millisecond
	// minStandstill is how long this process must have stood still before failures of requests in that time are not
	// counted as the vendor's.
	minStandstill = 3 * time.Second
	// logStandstill limits how often standstills are logged.
	logStandstill = 5 * time.Minute
)

// pulse detects that this process stood still: it was stopped, or its machine was suspended or overloaded. Timeouts
// expire in that time, and other hosts close their connections.
type pulse struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time // heartbeat
	// The last standstill.
	lasted time.Duration
	until  time.Time
	logged time.Time
}

// run records heartbeats until ctx ends.
func (p *pulse) run(ctx context.Context) error {
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	for {
		p.stoodStill(p.now())
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// stoodStill returns how long the last standstill lasted, if it ended after a time; otherwise 0.
func (p *pulse) stoodStill(after time.Time) time.Duration {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if gap := clock.Passed(p.last, now); !p.last.IsZero() && gap >= minStandstill {
		p.lasted, p.until = gap, now
	}
	p.last = now
	if !p.until.After(after) {
		return 0
	}
	return p.lasted
}

// mayLog reports whether a standstill may be logged now.
func (p *pulse) mayLog() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); p.logged.IsZero() || now.Sub(p.logged) >= logStandstill {
		p.logged = now
		return true
	}
	return false
}

// ownFailure reports whether a poll failed because this process stood still, and logs it. There is no answer of the
// vendor then. A request that took far longer than its timeout also shows a standstill.
func (w *Worker) ownFailure(d *delivery, f Facts, began time.Time, took time.Duration) bool {
	if f.Fault != schema.FaultUnavailable || f.StatusCode >= 300 {
		return false
	}
	lasted := w.pulse.stoodStill(began)
	if over := took - w.cfg.RequestTimeout; over >= minStandstill {
		lasted = max(lasted, over)
	}
	if lasted == 0 {
		return false
	}
	if w.pulse.mayLog() {
		w.log.WithFields(logrus.Fields{
			"lasted": lasted.Round(time.Millisecond).String(), "interaction": d.Identifier, "detail": f.FaultDetail,
		}).Warn("process did not run; polls that failed meanwhile do not count as vendor failures")
	}
	return true
}
