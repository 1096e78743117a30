package consumer

import (
	"context"
	"sync"
)

// slots bounds how many deliveries are worked on at once. Each lane owns a few slots that nobody else can take, so a
// flood on one lane cannot starve another; the rest are shared.
type slots struct {
	mu    sync.Mutex
	own   int
	total int
	used  []int
	freed []chan struct{} // one a lane; a token means: look again
}

func newSlots(total, lanes int) *slots {
	s := &slots{
		own:   max(1, total/(4*lanes)),
		total: total,
		used:  make([]int, lanes),
		freed: make([]chan struct{}, lanes),
	}
	for i := range s.freed {
		s.freed[i] = make(chan struct{}, 1)
	}
	return s
}

// free is how many slots the lane could take now. The lock is held.
func (s *slots) free(lane int) int {
	shared := s.total - s.own*len(s.used)
	for i, n := range s.used {
		if i != lane {
			shared -= max(0, n-s.own)
		}
	}
	return s.own + shared - s.used[lane]
}

// take waits until the lane may have a slot, and takes at most so many. It calls moved whenever a slot has been given
// back meanwhile. It returns 0 when ctx has ended.
func (s *slots) take(ctx context.Context, lane, most int, moved func()) int {
	for {
		if n := s.takeNow(lane, most); n > 0 {
			return n
		}
		select {
		case <-s.freed[lane]:
			moved()
		case <-ctx.Done():
			return 0
		}
	}
}

// takeNow takes what the lane may have without waiting, at most so many.
func (s *slots) takeNow(lane, most int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := max(0, min(most, s.free(lane)))
	s.used[lane] += n
	return n
}

// give returns n slots of the lane.
func (s *slots) give(lane, n int) {
	s.mu.Lock()
	s.used[lane] -= n
	s.mu.Unlock()
	for _, c := range s.freed {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// usedNow is how many slots are taken.
func (s *slots) usedNow() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, used := range s.used {
		n += used
	}
	return n
}
