package publisher

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The rate limit of log messages about dead letters: a burst, then one message per interval. The number of suppressed
// messages is logged at the same interval.
const (
	logBurst = 10
	logEvery = 30 * time.Second
)

// limiter limits the rate of log messages. It calls report with the number of suppressed messages, logEvery after the
// first of them.
type limiter struct {
	limit  *rate.Limiter
	report func(suppressed int)

	mu         sync.Mutex
	suppressed int
}

func newLimiter(report func(suppressed int)) *limiter {
	return &limiter{limit: rate.NewLimiter(rate.Every(logEvery), logBurst), report: report}
}

// allow reports whether a message may be logged now.
func (l *limiter) allow() bool {
	if l.limit.Allow() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.suppressed++; l.suppressed == 1 {
		time.AfterFunc(logEvery, l.flush)
	}
	return false
}

func (l *limiter) flush() {
	l.mu.Lock()
	n := l.suppressed
	l.suppressed = 0
	l.mu.Unlock()
	l.report(n)
}
