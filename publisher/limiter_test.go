package publisher

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []int
		l := newLimiter(func(n int) { reports = append(reports, n) })
		flood := func(lines int) (logged int) {
			for range lines {
				if l.allow() {
					logged++
				}
			}
			return logged
		}
		if n := flood(1000); n != logBurst {
			t.Errorf("%d of 1000 messages logged, want %d", n, logBurst)
		}
		time.Sleep(logEvery)
		synctest.Wait()
		if len(reports) != 1 || reports[0] != 1000-logBurst {
			t.Errorf("suppressed messages %v, want %d", reports, 1000-logBurst)
		}
		if n := flood(3); n != 1 {
			t.Errorf("%d messages logged after %s, want 1", n, logEvery)
		}
		time.Sleep(logEvery * logBurst)
		synctest.Wait()
		if len(reports) != 2 || reports[1] != 2 {
			t.Errorf("suppressed messages %v, want 2 more", reports)
		}
		if n := flood(logBurst); n != logBurst || len(reports) != 2 {
			t.Errorf("%d messages logged after a quiet time, want %d", n, logBurst)
		}
	})
}
