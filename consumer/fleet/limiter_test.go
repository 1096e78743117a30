package fleet

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// most is the number of deliveries that a lane pulls at once.
const most = 32

func TestNoRateLimit(t *testing.T) {
	var b *Limiter
	if room, wait := b.Room(t.Context(), most), b.Take(t.Context()); room != most || wait != 0 || b.Share() != 0 {
		t.Errorf("room %d, wait %s, share %v: want no limit", room, wait, b.Share())
	}
}

// A worker without a share pulls nothing and polls nothing.
func TestRateLimitBeforeTheFirstShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLimiter(time.Now)
		if wait := b.Take(t.Context()); wait <= 0 {
			t.Error("a delivery was let through without a share")
		}
		began := time.Now()
		time.AfterFunc(time.Hour, func() { b.set(2) })
		if room := b.Room(t.Context(), most); room < 1 || time.Since(began) != time.Hour {
			t.Errorf("room for %d after %s, want some when the share comes", room, time.Since(began))
		}
		if wait := b.Take(t.Context()); wait != 0 || time.Since(began) != time.Hour {
			t.Errorf("the first poll waits %s, want none", wait)
		}
	})
}

// If the share is removed while deliveries ask for their turn, their delay is limited.
func TestRateLimitSuspendedMeanwhile(t *testing.T) {
	b := newLimiter(time.Now)
	b.set(0.001)
	b.Take(t.Context()) // the first turn is free
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2_000 {
				if wait := b.Take(t.Context()); wait <= 0 || wait > maxReturnDelay {
					t.Errorf("returned for %s, want at most %s", wait, maxReturnDelay)
					return
				}
			}
		})
	}
	for range 2_000 {
		b.suspend()
		b.set(0.001)
	}
	all.Wait()
}

// Polls are evenly spaced, whenever deliveries arrive. No delivery waits longer than AckWait allows: it is returned
// with the delay instead.
func TestRateLimitSpacesPolls(t *testing.T) {
	for _, share := range []float64{0.05, 0.3, 1, 3.5, 40, 1000} {
		synctest.Test(t, func(t *testing.T) {
			b := newLimiter(time.Now)
			b.set(share)
			random := rand.New(rand.NewPCG(1, 2))
			var mu sync.Mutex
			var polls []time.Time
			returned := 0
			var all sync.WaitGroup
			for range 300 {
				after := time.Duration(random.Int64N(int64(100 / share * float64(time.Second))))
				all.Go(func() {
					time.Sleep(after)
					asked := time.Now()
					wait := b.Take(t.Context())
					took := time.Since(asked)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case took > Patience:
						t.Errorf("share %v: a delivery was kept for %s", share, took)
					case wait == 0:
						polls = append(polls, time.Now())
					case took != 0 || wait <= Patience:
						t.Errorf("share %v: returned for %s after %s, want at once, and for longer than it may wait",
							share, wait, took)
					default:
						returned++
					}
				})
			}
			all.Wait()
			slices.SortFunc(polls, time.Time.Compare)
			gap := seconds(1 / share)
			for i := range polls[1:] {
				if got := polls[i+1].Sub(polls[i]); got < gap-time.Microsecond {
					t.Fatalf("share %v: two polls within %s, want %s", share, got, gap)
				}
			}
			// Three times as many arrived as the share allows.
			if share < 1 && returned == 0 || len(polls) < 50 {
				t.Errorf("share %v: %d polled, %d returned", share, len(polls), returned)
			}
		})
	}
}

func TestRateLimitRoomIsForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLimiter(time.Now)
		b.set(10)
		for _, want := range []int{11, 10, 9} {
			if room := b.Room(t.Context(), most); room != want {
				t.Errorf("room for %d, want %d", room, want)
			}
			go b.Take(t.Context())
			synctest.Wait()
		}
		for range 8 {
			go b.Take(t.Context())
		}
		synctest.Wait()
		began := time.Now()
		if room := b.Room(t.Context(), most); room != 1 || time.Since(began) != 100*time.Millisecond {
			t.Errorf("room for %d after %s, want for one after a tenth of a second", room, time.Since(began))
		}
		time.Sleep(time.Minute)
		b.set(1e6)
		if room := b.Room(t.Context(), most); room != most {
			t.Errorf("room for %d, want no more than a pull takes", room)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if room := b.Room(ctx, most); room != 0 {
			t.Errorf("room for %d after the end", room)
		}
	})
}

// Take never rejects a delivery for which there was room: it would be pulled again and again. A share can be far below
// one per second.
func TestRateLimitTakeKeepsWhatHasRoom(t *testing.T) {
	for _, share := range []float64{0.01, 0.1, 0.2, 0.24, 0.26, 0.5, 1, 7} {
		synctest.Test(t, func(t *testing.T) {
			b := newLimiter(time.Now)
			b.set(share)
			began, polls := time.Now(), 0
			for time.Since(began) < seconds(20/share) {
				if room := b.Room(t.Context(), most); room < 1 {
					t.Fatalf("share %v: room for %d", share, room)
				}
				time.Sleep(pullMargin / 2) // the pull
				if wait := b.Take(t.Context()); wait != 0 {
					t.Fatalf("share %v: there was room for one, and it was returned for %s", share, wait)
				}
				polls++
			}
			if polls < 19 {
				t.Errorf("share %v: %d polls in the time for 20", share, polls)
			}
		})
	}
}

func TestRateLimitSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLimiter(time.Now)
		b.set(5)
		b.suspend()
		if wait := b.Take(t.Context()); wait != time.Second || b.Share() != 0 {
			t.Errorf("returned for %s with a share of %v, want a second and none", wait, b.Share())
		}
		began := time.Now()
		time.AfterFunc(time.Minute, func() { b.set(5) })
		if room := b.Room(t.Context(), most); room < 1 || time.Since(began) < time.Minute {
			t.Errorf("room for %d after %s, want some when there is a share again", room, time.Since(began))
		}
		if b.Share() != 5 {
			t.Errorf("the share is %v, want 5", b.Share())
		}
	})
}

// A delivery that waits when the worker stops is returned, and its turn is free again.
func TestRateLimitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLimiter(time.Now)
		b.set(1)
		b.Take(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		back := make(chan time.Duration)
		go func() { back <- b.Take(ctx) }()
		synctest.Wait()
		if n := b.Waiting(); n != 1 {
			t.Errorf("%d wait, want 1", n)
		}
		cancel()
		if wait := <-back; wait <= 0 || wait > time.Second {
			t.Errorf("returned for %s, want for a moment", wait)
		}
		began := time.Now()
		if b.Take(t.Context()); time.Since(began) != time.Second {
			t.Errorf("the next poll left after %s, want the cancelled turn", time.Since(began))
		}
	})
}

// A change of the share applies at once to deliveries that arrive afterwards.
func TestRateLimitShareChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLimiter(time.Now)
		b.set(0.01)
		b.Take(t.Context())
		room := make(chan int)
		go func() { room <- b.Room(t.Context(), most) }()
		time.Sleep(time.Second)
		b.set(1)
		began := time.Now()
		if <-room; time.Since(began) > time.Second {
			t.Errorf("a lane used its larger share after %s", time.Since(began))
		}
		b.set(0.02)
		b.Take(t.Context())
		if wait := b.Take(t.Context()); wait < 40*time.Second {
			t.Errorf("after the share shrank a delivery is returned for %s, want some 50 s", wait)
		}
	})
}
