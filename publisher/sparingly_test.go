package publisher

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rests []int
		s := newSparingly(func(n int) { rests = append(rests, n) })
		flood := func(lines int) (logged int) {
			for range lines {
				if s.may() {
					logged++
				}
			}
			return logged
		}
		if n := flood(1000); n != logBurst {
			t.Errorf("%d of a flood are logged, want %d", n, logBurst)
		}
		time.Sleep(logEvery)
		synctest.Wait()
		if len(rests) != 1 || rests[0] != 1000-logBurst {
			t.Errorf("the others are counted as %v, want %d", rests, 1000-logBurst)
		}
		if n := flood(3); n != 1 {
			t.Errorf("%d are logged %s later, want 1", n, logEvery)
		}
		time.Sleep(logEvery * logBurst)
		synctest.Wait()
		if len(rests) != 2 || rests[1] != 2 {
			t.Errorf("the others are counted as %v, want 2 more", rests)
		}
		if n := flood(logBurst); n != logBurst || len(rests) != 2 {
			t.Errorf("%d are logged after a quiet time, want %d", n, logBurst)
		}
	})
}
