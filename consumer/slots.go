package consumer

import (
	"context"
	"sync"
)

// slots limits how many deliveries are handled at a time. Each lane owns a few slots, so that a busy lane cannot starve
// another; the lanes share the others.
type slots struct {
	mu    sync.Mutex
	own   int
	total int
	used  []int
	freed []chan struct{} // one for each lane; a token means that slots may be free
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

// free is the number of slots that the lane can take now. The caller holds the lock.
func (s *slots) free(lane int) int {
	shared := s.total - s.own*len(s.used)
	for i, n := range s.used {
		if i != lane {
			shared -= max(0, n-s.own)
		}
	}
	return s.own + shared - s.used[lane]
}

// take waits until the lane can take a slot, and takes up to maxSlots. It calls moved whenever another slot is returned
// meanwhile. It returns 0 when ctx has ended.
func (s *slots) take(ctx context.Context, lane, maxSlots int, moved func()) int {
	for {
		if n := s.takeNow(lane, maxSlots); n > 0 {
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

// takeNow takes up to maxSlots slots without waiting.
func (s *slots) takeNow(lane, maxSlots int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := max(0, min(maxSlots, s.free(lane)))
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

// usedBy is the number of slots that a lane has taken.
func (s *slots) usedBy(lane int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used[lane]
}

// usedNow is the number of taken slots.
func (s *slots) usedNow() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, used := range s.used {
		n += used
	}
	return n
}
