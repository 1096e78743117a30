package redelivery

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// allowanceMargin is how much longer than recent requests a request may take to be written: after that, its
	// reservation is replaced, see Renew.
	allowanceMargin = 50 * time.Millisecond
	// minGuard is the minimum guard: it also covers that clocks do not run at the same speed.
	minGuard = 100 * time.Millisecond
	// The guard is at most maxGuard, and at most the interval divided by maxGuardDivisor.
	maxGuard        = 800 * time.Millisecond
	maxGuardDivisor = 10
	// The jitter of a first poll is at most maxSpread, and at most the interval divided by maxSpreadDivisor.
	maxSpread        = 500 * time.Millisecond
	maxSpreadDivisor = 10
	// MaxSlack is by how much the wait between two polls may exceed the poll interval. The breaker adds it when it
	// computes how long no poll may succeed.
	MaxSlack = time.Second
	// soon is how far in the future a reservation is scheduled that may fall due at once.
	soon = 100 * time.Millisecond
	// shortWait is the longest wait for which a delivery keeps its slot.
	shortWait = 50 * time.Millisecond
)

// nearMax is close to the maximum of recent times: it is the second longest of the last 16. A single long time does not
// change it, and a second one does.
type nearMax struct {
	mu    sync.Mutex
	last  [16]time.Duration
	count int
	value atomic.Int64 // in nanoseconds
}

// took records a time.
func (n *nearMax) took(d time.Duration) {
	d = max(0, d)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last[n.count%len(n.last)] = d
	n.count++
	if n.count == 1 {
		n.value.Store(int64(d))
		return
	}
	longest, second := time.Duration(0), time.Duration(0)
	for _, d := range n.last {
		if d > longest {
			longest, second = d, longest
		} else {
			second = max(second, d)
		}
	}
	n.value.Store(int64(second))
}

// get returns the value; 0 before the first time.
func (n *nearMax) get() time.Duration { return time.Duration(n.value.Load()) }

// guard is the time, in addition to the interval, between the latest time to write a request (SendBy) and the due time
// of the next poll. The vendor receives a request some time after it was written. If the next request reaches the
// vendor faster, the two arrive closer together than they were written, by less than the time in which the first is
// answered: so the guard is the near-maximum of the times until an answer.
func (r *Reservations) guard(interval time.Duration) time.Duration {
	return max(minGuard, min(r.answers.get(), longestGuard(interval)))
}

func longestGuard(interval time.Duration) time.Duration {
	return max(minGuard, min(maxGuard, interval/maxGuardDivisor))
}

// spread delays the first poll of an interaction, so that those that are declared together are not polled together.
// They stay apart, because all later waits are equal.
func (c Config) spread(interval time.Duration) time.Duration {
	return time.Duration(c.Jitter() * float64(min(maxSpread, interval/maxSpreadDivisor)))
}
