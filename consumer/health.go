package consumer

import (
	"errors"
	"fmt"
	"time"
)

// stillAfter is how long a loop may give no sign of life, where it does not wait for the vendor or the rate limit: far
// longer than any time-out in it, and than a delivery may keep its slot: a request, its outcome, and the answers of the
// broker.
const stillAfter = 2 * time.Minute

// Alive says whether the worker's loops go round; the error names one that does not. A vendor in trouble, a rate limit
// and a broker that is away do not count: a worker that waits for them is alive.
func (w *Worker) Alive() error {
	now := w.cfg.Now()
	for _, l := range w.lanes {
		last := l.heartbeat.last.Load()
		if still := now.Sub(time.Unix(0, last)); last > 0 && still > stillAfter && !l.heartbeat.parked.Load() {
			return fmt.Errorf("lane %s has not moved for %s", l.name, still.Round(time.Second))
		}
	}
	return nil
}

// Progress is when the loop that is furthest behind last gave a sign of life; zero before they run.
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

// Ready says whether the worker can take in and poll what there is, as far as the broker goes; the error says why not.
func (w *Worker) Ready() error {
	for _, l := range w.lanes {
		if l.heartbeat.last.Load() == 0 {
			return fmt.Errorf("consumer %s/%s is not pulled from yet", l.stream, l.name)
		}
		if why := l.trouble.Load(); why != nil {
			return errors.New(*why)
		}
	}
	return nil
}
