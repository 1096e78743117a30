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
	// pullAhead is how far ahead a lane pulls: no more than may be polled within this time.
	pullAhead = time.Second
	// Patience is how long a delivery waits for its turn. It leaves AckWait (10 s) time enough to reserve the next
	// poll; who would have to wait longer is handed back for that long.
	Patience = 4 * time.Second
	// pullMargin is how much of that the pull may take.
	pullMargin = 100 * time.Millisecond
	// maxHandBack is for how long a delivery is handed back at most: the share may be larger by then.
	maxHandBack = 10 * time.Minute
)

// Limiter spaces the polls of this worker by its share of the rate limit. They leave one by one, evenly: what was not
// used is gone. A nil limiter has no bound. It is safe for concurrent use.
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

// set makes share the polls per second that this worker may make from now on. Before the first call it makes none.
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

// suspend takes the share away until the next one is set.
func (l *Limiter) suspend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limiter.SetLimitAt(l.now(), 0)
	l.known = false
}

// Share is the polls per second that this worker may make now; 0 where there is no rate limit, or no share yet.
func (l *Limiter) Share() float64 {
	if l == nil {
		return 0
	}
	return float64(l.limiter.Limit())
}

// Waiting is how many deliveries wait for their turn.
func (l *Limiter) Waiting() int {
	if l == nil {
		return 0
	}
	return int(l.waiting.Load())
}

// Room waits until a delivery that comes now could be polled within a second or as soon as the share allows, and says
// for how many that holds, most at most. It returns 0 when ctx has ended. It promises nothing: lanes that ask at once
// get the same answer, and [Limiter.Take] sorts them out.
func (l *Limiter) Room(ctx context.Context, most int) int {
	if l == nil {
		return most
	}
	for ctx.Err() == nil {
		l.mu.Lock()
		known, changed := l.known, l.changed
		l.mu.Unlock()
		var due <-chan time.Time
		if known {
			limit := float64(l.limiter.Limit())
			// What is there by then. Of a share below one a second, one is looked ahead for, but no further than Take
			// waits: what it hands back would only be pulled again.
			ahead := min(max(1, limit*pullAhead.Seconds()), limit*(Patience-pullMargin).Seconds())
			free := l.limiter.TokensAt(l.now()) + ahead
			if free >= 1 {
				return int(min(free, float64(most)))
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

// Take waits for the delivery's turn to poll and returns 0 when it has come. Where that would take too long, or ctx
// ends first, it returns at once, with how long to hand the delivery back for.
func (l *Limiter) Take(ctx context.Context) (handBack time.Duration) {
	if l == nil {
		return 0
	}
	turn, delay := l.turn(l.now())
	switch {
	case turn == nil:
		return min(delay, maxHandBack)
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

// turn reserves the next free turn, and says how far away it is. It is nil where that is too far, or where there is no
// share now. No share is taken away, and no other turn reserved, in between: only the last one can be given back.
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
