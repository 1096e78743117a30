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
	heartbeatEvery = 500 * time.Millisecond
	// minStall is the minimum duration of a stall: failures of requests in that time are not counted as the vendor's.
	minStall = 3 * time.Second
	// logStalls limits how often stalls are logged.
	logStalls = 5 * time.Minute
)

// stallDetector detects stalls: for some time, this process did not run, because it was stopped or had no CPU, or
// because its machine was suspended. Timeouts expire in that time, and other hosts close their connections.
type stallDetector struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time // heartbeat
	// The last stall.
	lasted time.Duration
	until  time.Time
	logged time.Time
}

// run records heartbeats until ctx ends.
func (s *stallDetector) run(ctx context.Context) error {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for {
		s.stalled(s.now())
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// stalled returns how long the last stall lasted, if it ended after a time; otherwise 0.
func (s *stallDetector) stalled(after time.Time) time.Duration {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if gap := clock.Passed(s.last, now); !s.last.IsZero() && gap >= minStall {
		s.lasted, s.until = gap, now
	}
	s.last = now
	if !s.until.After(after) {
		return 0
	}
	return s.lasted
}

// mayLog reports whether a stall may be logged now.
func (s *stallDetector) mayLog() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); s.logged.IsZero() || now.Sub(s.logged) >= logStalls {
		s.logged = now
		return true
	}
	return false
}

// ownFailure reports whether a poll failed because this process stalled, and logs it. There is no answer of the vendor
// then. A request that took far longer than its timeout also shows a stall.
func (w *Worker) ownFailure(d *delivery, f Facts, began time.Time, took time.Duration) bool {
	if f.Fault != schema.FaultUnavailable || f.StatusCode >= 300 {
		return false
	}
	lasted := w.stalls.stalled(began)
	if over := took - w.cfg.RequestTimeout; over >= minStall {
		lasted = max(lasted, over)
	}
	if lasted == 0 {
		return false
	}
	if w.stalls.mayLog() {
		w.log.WithFields(logrus.Fields{
			"lasted": lasted.Round(time.Millisecond).String(), "interaction": d.Identifier, "detail": f.FaultDetail,
		}).Warn("process stalled; polls that failed meanwhile do not count as vendor failures")
	}
	return true
}
