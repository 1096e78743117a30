package publisher

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many dead letters are logged: so many at once, and then one in so long. The others are counted, and their number
// is logged as often.
const (
	logBurst = 10
	logEvery = 30 * time.Second
)

// sparingly lets some of many lines into the log. It calls rest with the number of the others, logEvery after the first
// of them.
type sparingly struct {
	limiter *rate.Limiter
	rest    func(n int)

	mu     sync.Mutex
	passed int
}

func newSparingly(rest func(n int)) *sparingly {
	return &sparingly{limiter: rate.NewLimiter(rate.Every(logEvery), logBurst), rest: rest}
}

// may tells whether a line may be logged now.
func (s *sparingly) may() bool {
	if s.limiter.Allow() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passed++; s.passed == 1 {
		time.AfterFunc(logEvery, s.flush)
	}
	return false
}

func (s *sparingly) flush() {
	s.mu.Lock()
	n := s.passed
	s.passed = 0
	s.mu.Unlock()
	s.rest(n)
}
