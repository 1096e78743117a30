package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// meanGap is the mean time between two faults in a storm. With shorter ones, the servers elect leaders all the time.
const meanGap = 200 * time.Millisecond

// storm lets faults happen for a time, and ends them all. Some storms end with a fault that happens alone.
func (r *run) storm(ctx context.Context, kinds []*kind, length time.Duration) {
	limit := int64([]int{3, 4, 4, 5, 6, 7}[r.random.IntN(6)])
	over, end := context.WithTimeout(ctx, length)
	defer end()
	var wg sync.WaitGroup
	for wait(over, time.Duration(r.random.ExpFloat64()*float64(meanGap))) {
		if r.active.Load() >= limit {
			continue
		}
		k := choose(r.random, kinds, false)
		if k == nil {
			continue
		}
		seed := r.random.Uint64()
		r.active.Add(1)
		wg.Go(func() {
			defer r.active.Add(-1)
			r.fault(ctx, over, k, seed)
		})
	}
	wg.Wait()
	if r.random.IntN(5) > 1 || ctx.Err() != nil || *flagDuration == smoke {
		return
	}
	if k := choose(r.random, kinds, true); k != nil {
		r.fault(ctx, ctx, k, r.random.Uint64())
	}
}

// choose chooses a kind of fault by weight.
func choose(random *rand.Rand, kinds []*kind, alone bool) *kind {
	total := 0
	for _, k := range kinds {
		if k.alone == alone {
			total += k.weight
		}
	}
	if total == 0 {
		return nil
	}
	n := random.IntN(total)
	for _, k := range kinds {
		if k.alone == alone {
			if n -= k.weight; n < 0 {
				return k
			}
		}
	}
	return nil
}

// fault strikes, waits for the length of the fault or until the storm is over, and heals.
func (r *run) fault(ctx, over context.Context, k *kind, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	e := &event{kind: k, from: time.Now()}
	s, err := k.strike(ctx, random)
	if errors.Is(err, errNoTarget) {
		return
	}
	e.struck = s
	if e.state == "" {
		e.state = "any"
	}
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	if err == nil && s.heal != nil {
		length := k.shortest
		if k.longest > k.shortest {
			length += time.Duration(random.Int64N(int64(k.longest - k.shortest)))
		}
		wait(over, length)
		err = s.heal(context.WithoutCancel(ctx))
	}
	r.mu.Lock()
	e.to = time.Now()
	r.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		r.t.Errorf("%s after the beginning, seed %d: fault %s: %v", r.since(e.from), r.seed, e, err)
	}
}
