package consumer

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// rateLimitAhead is how far ahead a lane pulls: no more than may be polled within this time.
	rateLimitAhead = time.Second
	// rateLimitPatience is how long a delivery waits for its turn. It leaves AckWait (10 s) time enough to reserve the next
	// poll; who would have to wait longer is handed back for that long.
	rateLimitPatience = 4 * time.Second
	// rateLimitMargin is how much of that the pull may take.
	rateLimitMargin = 100 * time.Millisecond
	// maxHandBack is for how long a delivery is handed back at most: the share may be larger by then.
	maxHandBack = 10 * time.Minute
)

// rate limit is this worker's share of the requests that the fleet may make. Polls leave one by one, evenly spaced: what was
// not used is gone. A nil rate limit has no bound.
type limiter struct {
	now     func() time.Time
	limiter *rate.Limiter

	mu      sync.Mutex
	known   bool          // a share was set
	changed chan struct{} // closed, and made anew, when the share changes

	waiting atomic.Int64 // deliveries that wait for their turn
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, limiter: rate.NewLimiter(0, 1), changed: make(chan struct{})}
}

// set makes share the polls per second that this worker may make from now on. Before the first call it makes none.
func (b *limiter) set(share float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known && b.limiter.Limit() == rate.Limit(share) {
		return
	}
	b.limiter.SetLimitAt(b.now(), rate.Limit(share))
	b.known = true
	close(b.changed)
	b.changed = make(chan struct{})
}

// suspend takes the share away until the next one is set.
func (b *limiter) suspend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limiter.SetLimitAt(b.now(), 0)
	b.known = false
}

// share is the polls per second that this worker may make now; 0 where there is no rate limit, or no share yet.
func (b *limiter) share() float64 {
	if b == nil {
		return 0
	}
	return float64(b.limiter.Limit())
}

// room waits until a delivery that comes now could be polled within a second or as soon as the share allows, and says for
// how many that holds. It returns 0 when ctx has ended. It promises nothing: lanes that ask at once get the same answer,
// and take sorts them out.
func (b *limiter) room(ctx context.Context) int {
	if b == nil {
		return maxPull
	}
	for ctx.Err() == nil {
		b.mu.Lock()
		known, changed := b.known, b.changed
		b.mu.Unlock()
		var due <-chan time.Time
		if known {
			limit := float64(b.limiter.Limit())
			// What is there by then. Of a share below one a second, one is looked ahead for, but no further than take waits:
			// what it hands back would only be pulled again.
			ahead := min(max(1, limit*rateLimitAhead.Seconds()), limit*(rateLimitPatience-rateLimitMargin).Seconds())
			free := b.limiter.TokensAt(b.now()) + ahead
			if free >= 1 {
				return int(min(free, maxPull))
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

// take waits for the delivery's turn to poll and returns 0 when it has come. Where that would take too long, or ctx ends
// first, it returns at once, with how long to hand the delivery back for.
func (b *limiter) take(ctx context.Context) (handBack time.Duration) {
	if b == nil {
		return 0
	}
	turn, delay := b.turn(b.now())
	switch {
	case turn == nil:
		return min(delay, maxHandBack)
	case delay == 0:
		return 0
	}
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0
	case <-ctx.Done():
		turn.CancelAt(b.now())
		return time.Millisecond // for another worker to take
	}
}

// turn reserves the next free turn, and says how far away it is. It is nil where that is too far, or where there is no share
// now. No share is taken away, and no other turn reserved, in between: only the last one can be given back.
func (b *limiter) turn(now time.Time) (*rate.Reservation, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known {
		return nil, time.Second
	}
	turn := b.limiter.ReserveN(now, 1)
	delay := turn.DelayFrom(now)
	if delay > rateLimitPatience {
		turn.CancelAt(now)
		turn = nil
	}
	return turn, delay
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt64/4/float64(time.Second)) * float64(time.Second))
}
