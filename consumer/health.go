package consumer

import (
	"errors"
	"fmt"
	"time"

	"statusworker/schema"
)

// maxHeartbeatAge is the maximum age of a loop's last heartbeat, unless the loop waits for the vendor or the rate
// limit. It is far longer than any timeout in the loop, and longer than a delivery can occupy its slot (its request,
// the publish of its outcome, and the broker's answers).
const maxHeartbeatAge = 2 * time.Minute

// Alive returns an error that names a loop of the worker which no longer runs. A worker that waits for the vendor, the
// rate limit or the broker is alive.
func (w *Worker) Alive() error {
	now := w.cfg.Now()
	for _, l := range w.lanes {
		last := l.heartbeat.last.Load()
		if age := now.Sub(time.Unix(0, last)); last > 0 && age > maxHeartbeatAge && !l.heartbeat.parked.Load() {
			return fmt.Errorf("lane %s has not run for %s, the limit is %s: restart the worker", l.name,
				schema.Duration(age.Round(time.Second)), schema.Duration(maxHeartbeatAge))
		}
	}
	return nil
}

// Progress is the oldest of the loops' last heartbeats; zero before they run.
func (w *Worker) Progress() time.Time {
	var first time.Time
	for _, l := range w.lanes {
		if l.heartbeat.parked.Load() {
			continue
		}
		last := l.heartbeat.last.Load()
		if last == 0 {
			return time.Time{}
		}
		if at := time.Unix(0, last); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return w.cfg.Now() // all wait for the vendor or the rate limit
	}
	return first
}

// Ready returns an error if the worker cannot pull from all its consumers.
func (w *Worker) Ready() error {
	for _, l := range w.lanes {
		if l.heartbeat.last.Load() == 0 {
			return fmt.Errorf("consumer %s/%s: the worker has not pulled from it yet", l.stream, l.name)
		}
		if why := l.failure.Load(); why != nil {
			return errors.New(*why)
		}
	}
	return nil
}
