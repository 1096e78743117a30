package breaker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// Of several lanes that wait, one at a time has the probe. When it succeeds, all continue.
func TestBreakerOneProbeAtATime(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		type admitted struct {
			probe bool
			err   error
		}
		const lanes = 3
		r.fail(Unavailable, pauseAfter)
		got := make(chan admitted, lanes)
		for range lanes {
			go func() {
				probe, err := r.Admit(t.Context(), 1)
				got <- admitted{probe, err}
			}()
		}
		wantOne := func(why string) {
			t.Helper()
			a := <-got
			if !a.probe || a.err != nil {
				t.Fatalf("%s: a lane was admitted with probe %t, error %v", why, a.probe, a.err)
			}
			time.Sleep(time.Hour) // of fake time
			synctest.Wait()
			if len(got) != 0 {
				t.Fatalf("%s: a second lane was admitted beside the probe", why)
			}
		}
		wantOne("when the pause is over")
		r.Release() // it had no due message: the next lane probes at once
		began := time.Now()
		wantOne("after a release without a report")
		if took := time.Since(began); took != time.Hour {
			t.Errorf("the next probe went %s after the release, want at once", took-time.Hour)
		}
		r.succeed(true)
		r.Release()
		if a := <-got; a.probe || a.err != nil {
			t.Errorf("after the probe succeeded a lane was admitted with probe %t, error %v", a.probe, a.err)
		}
		r.wantWorking("after the probe succeeded")
		r.wantLogged("in all", logrus.WarnLevel, logrus.InfoLevel)
	})
}

// While the vendor fails for all, it receives one poll per pause, however many lanes there are.
func TestBreakerCostsOnePollEach(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		r.fail(Unavailable, maxKnown)
		polls := make(chan time.Time, 1000)
		done := make(chan struct{})
		const lanes = 4
		for range lanes {
			go func() {
				defer func() { done <- struct{}{} }()
				for {
					probe, err := r.Admit(ctx, 1)
					if err != nil {
						if probe {
							r.Release()
						}
						return
					}
					if !probe {
						t.Error("a lane was admitted though the vendor fails for all")
						return
					}
					polls <- time.Now()
					time.Sleep(300 * time.Millisecond) // of fake time: the request
					r.polled(0, Unavailable, time.Time{}, true, "503")
					r.Release()
				}
			}()
		}
		for range lanes {
			<-done
		}
		close(polls)
		var last time.Time
		n := 0
		for at := range polls {
			n++
			if !last.IsZero() && at.Sub(last) < minPause {
				t.Errorf("two polls were %s apart", at.Sub(last))
			}
			last = at
		}
		// 1 + 2 + 4 + ... s: the tenth pause would end after 17 minutes.
		if n < 8 || n > 10 {
			t.Errorf("%d polls in ten minutes of pauses that double, want 8 to 10", n)
		}
	})
}

// A probe that ends after its pause does not affect the next one.
func TestBreakerProbeOfAnEarlierPause(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.wantProbe()
		r.succeed(false) // a straggler ends the pause while the probe is in flight
		r.wantWorking("after a straggler's success")
		r.polled(0, Throttled, time.Now().Add(time.Minute), false, "429")
		r.succeed(true)
		r.wantPaused("after a 429 and the success of a probe that was in flight before")
		r.Release()
	})
}

// After a lane's probe has failed, another lane gets the next one.
func TestBreakerProbesAlternate(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.wantProbe()
		r.polled(7, Unavailable, time.Time{}, true, "503")
		r.Release()
		over := r.Until()
		type turn struct {
			lane  int
			after time.Duration
		}
		turns := make(chan turn)
		for _, lane := range []int{7, 8} {
			go func() {
				if probe, err := r.Admit(t.Context(), lane); !probe || err != nil {
					t.Errorf("lane %d was admitted with probe %t, error %v", lane, probe, err)
				}
				turns <- turn{lane, time.Since(over)}
			}()
		}
		if first := <-turns; first.lane != 8 || first.after != 0 {
			t.Errorf("lane %d has the probe %s after the pause, want the other one at once", first.lane, first.after)
		}
		time.Sleep(probeHandicap)
		r.Release() // it had no due message
		if second := <-turns; second.lane != 7 {
			t.Errorf("then lane %d has it", second.lane)
		}
	})
}
