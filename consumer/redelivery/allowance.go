package redelivery

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// allowanceMargin is by how much a request may take longer to be written than usual: otherwise its reservation is
	// stored again, see Renew.
	allowanceMargin = 50 * time.Millisecond
	// minGuard is the minimum guard: it also covers that clocks do not run at the same speed.
	minGuard = 100 * time.Millisecond
	// maxGuard limits the guard to this time and to a fraction of the interval.
	maxGuard      = 800 * time.Millisecond
	maxGuardShare = 10
	// maxSpread limits the jitter of a first poll to this time and to a fraction of the interval.
	maxSpread      = 500 * time.Millisecond
	maxSpreadShare = 10
	// MaxSlack is by how much the wait between two polls may exceed the poll interval. The breaker adds it when it
	// computes how long no poll may succeed.
	MaxSlack = time.Second
	// soon is how far in the future a reservation is scheduled that may fall due at once.
	soon = 100 * time.Millisecond
	// shortWait is the longest wait for which a delivery keeps its slot.
	shortWait = 50 * time.Millisecond
)

// usual is the time that something usually takes: the second longest of the last 16 times. A single long time does not
// change it, and a second one does.
type usual struct {
	mu    sync.Mutex
	last  [16]time.Duration
	count int
	value atomic.Int64 // in nanoseconds
}

func (u *usual) took(d time.Duration) {
	d = max(0, d)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last[u.count%len(u.last)] = d
	u.count++
	if u.count == 1 {
		u.value.Store(int64(d))
		return
	}
	longest, second := time.Duration(0), time.Duration(0)
	for _, d := range u.last {
		if d > longest {
			longest, second = d, longest
		} else {
			second = max(second, d)
		}
	}
	u.value.Store(int64(second))
}

func (u *usual) get() time.Duration { return time.Duration(u.value.Load()) }

// guard is the time, in addition to the interval, between the latest time to write a request (SendBy) and the due time
// of the next poll. It covers the way to the vendor, which may be longer than that of the next request: usually the
// request is answered within that time.
func (r *Reservations) guard(interval time.Duration) time.Duration {
	return max(minGuard, min(r.answers.get(), longestGuard(interval)))
}

func longestGuard(interval time.Duration) time.Duration {
	return max(minGuard, min(maxGuard, interval/maxGuardShare))
}

// spread delays the first poll of an interaction, so that those that are declared together are not polled together.
// They stay apart, because all later waits are equal.
func (c Config) spread(interval time.Duration) time.Duration {
	return time.Duration(c.Jitter() * float64(min(maxSpread, interval/maxSpreadShare)))
}
