package breaker

import (
	"strconv"
	"testing"
	"time"
)

// A vendor that refuses one interaction after the other, in the same way, and returns no status, refuses all.
func TestBreakerRefused(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.refuse(404, refusedMany-1)
		r.wantWorking("while few are refused")
		for range 100 { // the same ones
			r.Report(Report{Identifier: "1", Refused: 404})
		}
		r.refuse(400, refusedMany-1)
		r.wantWorking("while others are refused in another way")
		if r.doubted("1", 404, time.Now()) || r.doubted("5", 400, time.Now()) {
			t.Error("few refusals are doubted")
		}
		r.refuse(404, 1)
		r.wantWorking("when many are refused at once, and others may succeed")
		time.Sleep(quietAfter / 12)
		r.refuse(404, 1)
		r.wantPaused("when many are refused for an interval")
		if l := r.State(); l.Cause != Refused || l.Detail != "404" {
			t.Errorf("the pause is %+v, want it because of %s", l, Refused)
		}
		if !r.doubted("1", 404, time.Now()) || !r.doubted("1", 400, time.Now()) {
			t.Error("refusals are not doubted while the worker pauses because of them")
		}
		if !r.PassesOver("1", false) || r.PassesOver("new", false) {
			t.Error("the probe does not pass over the refused one alone")
		}
		// Only a status ends the pause.
		r.wantProbe()
		r.Report(Report{Identifier: "x", Refused: 404, Probe: true, Detail: "404"})
		r.Release()
		r.wantPaused("after a probe that was refused")
		began := r.Others("1", 404).Since
		r.wantProbe()
		r.polled(0, Unavailable, time.Time{}, true, "503")
		r.Release()
		if l := r.State(); l.Cause != Unavailable {
			t.Errorf("after a 503 the pause is %+v", l)
		}
		time.Sleep(time.Second)
		r.succeed(false)
		r.wantWorking("after a status")
		if r.doubted("1", 404, time.Now()) {
			t.Error("refusals are doubted after a status")
		}
		if !r.Others("1", 404).Since.Equal(time.Now()) || !r.Others("1", 404).Since.After(began) {
			t.Errorf("the worker distinguishes refusals since %s, want since the status", r.Others("1", 404).Since)
		}
	})
	// While others succeed, many refusals are doubted, and the worker does not pause.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		began := r.Others("1", 404).Since
		for range 10 {
			r.succeed(false)
			r.refuse(404, 2*refusedMany)
			r.wantWorking("while others succeed")
			if !r.doubted("1", 404, time.Now()) || r.doubted("1", 410, time.Now()) {
				t.Errorf("404 is doubted %t, 410 %t", r.doubted("1", 404, time.Now()), r.doubted("1", 410, time.Now()))
			}
			time.Sleep(quietAfter - time.Second)
		}
		if !r.Others("1", 404).Since.Equal(began) {
			t.Error("the time since when the worker watches has changed")
		}
		time.Sleep(time.Second)
		r.refuse(404, 1)
		r.wantPaused("when nothing has succeeded for long")
	})
	// Refusals that came while others had a status are not doubted, also when no others are left to poll.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		began := time.Now()
		time.Sleep(quietAfter/2 - 1)
		r.succeed(false)
		r.refuse(404, 2*refusedMany)
		if !r.doubted("1", 404, began) {
			t.Error("with a success of others for less than an interval, a refusal of many is not doubted")
		}
		time.Sleep(time.Nanosecond)
		r.succeed(false)
		time.Sleep(2 * quietAfter)
		r.refuse(404, 2*refusedMany)
		r.wantPaused("when nothing has succeeded for long")
		if r.doubted("1", 404, began) || !r.doubted("1", 404, began.Add(1)) {
			t.Errorf("the first refusal %s before the last success is doubted %t, one later %t", quietAfter/2,
				r.doubted("1", 404, began), r.doubted("1", 404, began.Add(1)))
		}
	})
	// A refusal that ends its interaction begins no pause, but counts.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		for range refusedMany - 1 {
			if r.doubted("new", 404, time.Now()) {
				t.Error("few refusals are doubted")
			}
			r.Report(Report{Identifier: r.another(), Refused: 404, Ended: true})
			time.Sleep(quietAfter)
		}
		if !r.doubted("new", 404, time.Now()) {
			t.Error("one refusal after the other is not doubted, and nothing succeeds")
		}
		r.wantWorking("while refused interactions end")
		r.refuse(404, 1)
		r.wantPaused("when many are refused, and one does not end")
		r.wantProbe()
		r.Report(Report{Identifier: "1", Refused: 404, Ended: true, Probe: true})
		r.Release()
		r.wantWorking("when one ends by it")
	})
	// Refusals while others succeed, however rarely, do not show that the vendor refuses all.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		began := r.Others("1", 404).Since
		deleted := []string{"a", "b", "c", "d", "e", "f"}
		r.succeed(false)
		for range 20 {
			for _, id := range deleted {
				r.Report(Report{Identifier: id, Refused: 404})
			}
			r.succeed(false)
			time.Sleep(quietAfter/2 - 1)
		}
		r.wantWorking("while the same ones are refused")
		if !r.Others("a", 404).Since.Equal(began) {
			t.Error("the time since when the worker watches has changed")
		}
		time.Sleep(quietAfter/2 + 1)
		r.refuse(404, refusedMany)
		r.wantPaused("when others are refused as well")
	})
	// The same interactions were refused before the last success. If nothing succeeds for long after it, and they are
	// refused again, the worker pauses as well.
	inFakeTime(t, func(_ *testing.T, r testBreaker) {
		for range 3 {
			for n := range refusedMany {
				r.Report(Report{Identifier: strconv.Itoa(n), Refused: 404})
			}
			r.succeed(false)
			time.Sleep(quietAfter / 4)
		}
		r.Report(Report{Identifier: "0", Refused: 404})
		r.wantWorking("while others may succeed")
		time.Sleep(quietAfter)
		for n := range refusedMany {
			r.Report(Report{Identifier: strconv.Itoa(n), Refused: 404})
		}
		r.wantPaused("when nothing has succeeded for long, and they have not ended")
	})
	// The number of remembered refusals is limited, and each has its last HTTP status.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		for _, code := range []int{404, 400} {
			for n := range 2 * maxKnown {
				r.Report(Report{Identifier: strconv.Itoa(n), Refused: code, Ended: true})
			}
			if have := r.Others("1", code).RefusedAlike; have != maxKnown {
				t.Errorf("%d are refused with %d, want %d", have, code, maxKnown)
			}
		}
	})
	// A refusal is an answer: it ends the pause of a vendor that was unavailable.
	inFakeTime(t, func(_ *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.wantProbe()
		r.Report(Report{Identifier: "x", Refused: 404, Probe: true})
		r.Release()
		r.wantWorking("after a refusal")
	})
}
