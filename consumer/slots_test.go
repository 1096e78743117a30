package consumer

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
)

func TestBusyLaneLeavesOthersTheirSlots(t *testing.T) {
	for _, c := range []struct{ total, lanes, own, flood int }{
		{4, 4, 1, 1}, // the minimum: one for each lane, none to share
		{5, 4, 1, 2},
		{64, 4, 4, 52}, // a quarter is owned, the others are shared
		{64, 3, 5, 54},
		{4096, 4, 256, 3328},
	} {
		s := newSlots(c.total, c.lanes)
		if got := s.takeNow(0, 10*c.total); got != c.flood {
			t.Errorf("of %d slots a busy lane of %d got %d, want %d", c.total, c.lanes, got, c.flood)
		}
		for lane := 1; lane < c.lanes; lane++ {
			if got := s.takeNow(lane, 10*c.total); got != c.own {
				t.Errorf("of %d slots lane %d of %d got %d beside a busy one, want its own %d",
					c.total, lane, c.lanes, got, c.own)
			}
		}
		for lane := range c.lanes {
			if got := s.takeNow(lane, 1); got != 0 {
				t.Errorf("with all %d slots taken, lane %d got %d more", c.total, lane, got)
			}
		}
	}
}

func TestSlotsTakeNoMoreThanAsked(t *testing.T) {
	s := newSlots(64, 4)
	for _, most := range []int{0, 1, 32} {
		if got := s.takeNow(2, most); got != most {
			t.Errorf("asked for %d slots of many, got %d", most, got)
		}
	}
}

// Shared slots that a lane returns can be taken by any lane.
func TestSharedSlotsAreReused(t *testing.T) {
	s := newSlots(8, 4) // one of its own for each, and four to share
	if got := s.takeNow(0, 8); got != 5 {
		t.Fatalf("the first lane got %d, want 5", got)
	}
	s.give(0, 3)
	if got := s.takeNow(1, 8); got != 4 {
		t.Errorf("after 3 shared ones were returned, another lane got %d, want its own and these", got)
	}
	if got := s.takeNow(0, 8); got != 0 {
		t.Errorf("the first lane got %d that others have", got)
	}
	s.give(1, 4)
	if got := s.takeNow(0, 8); got != 3 {
		t.Errorf("the first lane got %d, want the 3 shared ones back", got)
	}
}

// Random takes and gives, compared with a simpler statement of the rule.
func TestSlotsAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		lanes := 1 + random.IntN(5)
		total := lanes + random.IntN(70)
		s := newSlots(total, lanes)
		own := max(1, total/(4*lanes))
		used := make([]int, lanes)
		for range 200 {
			lane := random.IntN(lanes)
			if random.IntN(3) == 0 {
				n := random.IntN(used[lane] + 1)
				s.give(lane, n)
				used[lane] -= n
				continue
			}
			// A lane can take what other lanes neither have taken nor own.
			most := random.IntN(40)
			shared := total
			for i, n := range used {
				if i != lane {
					shared -= max(n, own)
				}
			}
			want := min(most, shared-used[lane])
			if got := s.takeNow(lane, most); got != want {
				t.Fatalf("seed %d: of %d slots in %d lanes, %v of them used, lane %d asked for %d and got %d, want %d",
					seed, total, lanes, used, lane, most, got, want)
			}
			used[lane] += want
			sum := 0
			for _, n := range used {
				sum += n
			}
			if sum > total || want < 0 {
				t.Fatalf("seed %d: %v slots are used of %d", seed, used, total)
			}
		}
	}
}

func TestSlotsTakeWaitsForGive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := newSlots(4, 4)
		s.takeNow(0, 1)
		got := make(chan int, 1)
		wait := func(most int) {
			t.Helper()
			go func() { got <- s.take(ctx, 0, most, func() {}) }()
			wantWaiting(t, got)
		}

		wait(3)
		s.takeNow(1, 1)
		s.give(1, 1) // the other lane's own slot
		wantWaiting(t, got)
		s.give(0, 1)
		if n := <-got; n != 1 {
			t.Errorf("after one slot was returned, take returned %d", n)
		}

		s.give(0, 1) // before the wait
		if n := s.take(ctx, 0, 1, func() {}); n != 1 {
			t.Errorf("take returned %d with a free slot", n)
		}

		wait(1)
		cancel()
		if n := <-got; n != 0 {
			t.Errorf("take returned %d after its context ended", n)
		}
	})
}

// wantWaiting fails the test if a take has returned.
func wantWaiting(t *testing.T, got chan int) {
	t.Helper()
	synctest.Wait()
	if len(got) != 0 {
		t.Fatalf("take returned %d, want it to wait", <-got)
	}
}

// A take that finds no slot, and a give at the same moment. synctest detects a lost wake-up as a deadlock.
func TestSlotsLoseNoWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, 1)
		var gives sync.WaitGroup
		for range 20_000 {
			n := s.take(t.Context(), 0, 2, func() {})
			gives.Go(func() { s.give(0, n) })
		}
		gives.Wait()
		if s.used[0] != 0 {
			t.Errorf("%d slots are still used", s.used[0])
		}
	})
}

// A shared slot that one lane returns wakes all that wait; one of them gets it.
func TestSlotsGiveWakesEveryLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := newSlots(5, 4) // one is shared
		s.takeNow(0, 2)
		got := make(chan int, 3)
		for lane := 1; lane < 4; lane++ {
			s.takeNow(lane, 1)
			go func() { got <- s.take(ctx, lane, 1, func() {}) }()
		}
		synctest.Wait()
		s.give(0, 1)
		if n := <-got; n != 1 {
			t.Errorf("the lane that was woken got %d slots", n)
		}
		wantWaiting(t, got) // the others: one was free
		cancel()
		for range 2 {
			if n := <-got; n != 0 {
				t.Errorf("a lane got %d slots, but none was free", n)
			}
		}
	})
}

// A lane that waits for a slot is notified of each returned slot, even if another lane takes it.
func TestSlotsNotifyOfProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(8, 2)
		s.takeNow(0, 7)
		moved := 0
		got := make(chan int)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { got <- s.take(ctx, 0, 1, func() { moved++ }) }()
		for range 3 {
			synctest.Wait()
			s.give(1, s.takeNow(1, 1))
		}
		synctest.Wait()
		if moved != 3 {
			t.Errorf("%d notifications, want 3", moved)
		}
		cancel()
		<-got
	})
}
