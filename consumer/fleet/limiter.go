package fleet

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// pullAhead is how far ahead a lane pulls: at most what may be polled within this time.
	pullAhead = time.Second
	// Patience is how long a delivery waits for its turn. It leaves enough of AckWait (10 s) to reserve the next poll.
	// A delivery that would have to wait longer is returned to the broker with a delay.
	Patience = 4 * time.Second
	// pullMargin is how much of Patience the pull may take.
	pullMargin = 100 * time.Millisecond
	// maxReturnDelay limits the delay with which a delivery is returned: the share may be larger by then.
	maxReturnDelay = 10 * time.Minute
)

// Limiter spaces the polls of this worker evenly by its share of the rate limit. Unused turns are not saved. A nil
// limiter has no limit. It is safe for concurrent use.
type Limiter struct {
	now     func() time.Time
	limiter *rate.Limiter

	mu      sync.Mutex
	known   bool          // a share was set
	changed chan struct{} // closed, and replaced, when the share changes

	waiting atomic.Int64
}

func newLimiter(now func() time.Time) *Limiter {
	return &Limiter{now: now, limiter: rate.NewLimiter(0, 1), changed: make(chan struct{})}
}

// set sets the share, in polls per second. Before the first call the worker does not poll.
func (l *Limiter) set(share float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known && l.limiter.Limit() == rate.Limit(share) {
		return
	}
	l.limiter.SetLimitAt(l.now(), rate.Limit(share))
	l.known = true
	close(l.changed)
	l.changed = make(chan struct{})
}

// suspend removes the share until the next call of set.
func (l *Limiter) suspend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limiter.SetLimitAt(l.now(), 0)
	l.known = false
}

// Share is the current share in polls per second; 0 without a rate limit, or before the first share.
func (l *Limiter) Share() float64 {
	if l == nil {
		return 0
	}
	return float64(l.limiter.Limit())
}

// Waiting is the number of deliveries that wait for their turn.
func (l *Limiter) Waiting() int {
	if l == nil {
		return 0
	}
	return int(l.waiting.Load())
}

// Room waits until at least one delivery could be polled within a second (with a share below one per second: as its
// next turn), and returns how many could, up to maximum. It returns 0 when ctx has ended. It reserves nothing: lanes
// that ask at the same time get the same answer, and only [Limiter.Take] limits them.
func (l *Limiter) Room(ctx context.Context, maximum int) int {
	if l == nil {
		return maximum
	}
	for ctx.Err() == nil {
		l.mu.Lock()
		known, changed := l.known, l.changed
		l.mu.Unlock()
		var due <-chan time.Time
		if known {
			limit := float64(l.limiter.Limit())
			// The turns until then. With a share below one per second it is at least one turn, but no more than Take
			// waits for: a delivery that it returns would be pulled again.
			ahead := min(max(1, limit*pullAhead.Seconds()), limit*(Patience-pullMargin).Seconds())
			free := l.limiter.TokensAt(l.now()) + ahead
			if free >= 1 {
				return int(min(free, float64(maximum)))
			}
			due = time.After(max(seconds((1-free)/limit), time.Millisecond))
		}
		select {
		case <-due:
		case <-changed:
		case <-ctx.Done():
		}
	}
	return 0
}

// Take waits for the turn of a delivery, and returns 0 when it has come. If that would take too long, or if ctx ends
// first, it returns the delay with which to return the delivery to the broker.
func (l *Limiter) Take(ctx context.Context) (returnAfter time.Duration) {
	if l == nil {
		return 0
	}
	turn, delay := l.turn(l.now())
	switch {
	case turn == nil:
		return min(delay, maxReturnDelay)
	case delay == 0:
		return 0
	}
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0
	case <-ctx.Done():
		turn.CancelAt(l.now())
		return time.Millisecond // for another worker to take
	}
}

// turn reserves the next free turn, and returns the time until then. It is nil if that is too long, or without a share.
// The lock keeps others from reserving a turn in between: only the last one can be cancelled.
func (l *Limiter) turn(now time.Time) (*rate.Reservation, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known {
		return nil, time.Second
	}
	turn := l.limiter.ReserveN(now, 1)
	delay := turn.DelayFrom(now)
	if delay > Patience {
		turn.CancelAt(now)
		turn = nil
	}
	return turn, delay
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt64/4/float64(time.Second)) * float64(time.Second))
}
