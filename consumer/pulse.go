package consumer

import (
	"context"
	"sync"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
)

const (
	pulseEvery = 500 * time.Millisecond
	// minStandstill is how long this process must have stood still before a request that failed meanwhile says nothing
	// about the vendor.
	minStandstill = 3 * time.Second
	// logStandstill is how often standstills are logged.
	logStandstill = 5 * time.Minute
)

// pulse notices that this process stood still: it was stopped, its machine was suspended or starved. Time-outs run out
// meanwhile, and others close their connections.
type pulse struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time // heartbeat
	// The last standstill.
	lasted time.Duration
	until  time.Time
	logged time.Time
}

// run heartbeats until ctx ends.
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

// stoodStill says for how long this process stood still, where that was after a time; otherwise 0.
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

// mayLog tells whether it is time to log a standstill.
func (p *pulse) mayLog() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); p.logged.IsZero() || now.Sub(p.logged) >= logStandstill {
		p.logged = now
		return true
	}
	return false
}

// ownFailure tells whether a poll failed because this process stood still, and logs that. The vendor has no part in it:
// no answer of it is known. A request that took far longer than it may is a sign of that by itself.
func (w *Worker) ownFailure(f Facts, began time.Time, took time.Duration) bool {
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
		w.log.WithField("lasted", lasted.Round(time.Millisecond).String()).WithField("detail", f.FaultDetail).
			Warn("worker stood still; polls that failed meanwhile do not count")
	}
	return true
}
