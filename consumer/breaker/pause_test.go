package breaker

import (
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

func TestBreakerBegins(t *testing.T) {
	for _, failure := range []Failure{Unavailable, Unauthorized} {
		inFakeTime(t, func(t *testing.T, r testBreaker) {
			r.fail(failure, pauseAfter)
			r.wantPaused("after three failures in a row")
			r.wantLogged("at the beginning", logrus.WarnLevel)
			e := r.log.LastEntry()
			if e.Data["cause"] != failure || e.Data["detail"] != "503" || e.Data["next_probe_at"] == nil {
				t.Errorf("logged %v, want the cause, the end, and the detail", e.Data)
			}
			if took := r.wantProbe(); took < 800*time.Millisecond || took > 1200*time.Millisecond+time.Microsecond {
				t.Errorf("%s: the first pause lasted %s, want 1s within a fifth", failure, took)
			}
		})
	}
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Throttled, 1)
		r.wantPaused("after one 429")
		if took := r.wantProbe(); took < 800*time.Millisecond || took > 1200*time.Millisecond+time.Microsecond {
			t.Errorf("without Retry-After the first pause lasted %s, want 1s within a fifth", took)
		}
	})
}

func TestBreakerUntilRetryAfter(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 7 * time.Second, time.Hour} {
		inFakeTime(t, func(t *testing.T, r testBreaker) {
			r.polled(0, Throttled, time.Now().Add(after), false, "429")
			r.wantPaused("after a 429")
			if took := r.wantProbe(); took != after {
				t.Errorf("the pause lasted %s, want the %s of Retry-After", took, after)
			}
			r.polled(0, Throttled, time.Now().Add(2*after), true, "429")
			r.Release()
			if took := r.wantProbe(); took != 2*after {
				t.Errorf("after the probe's 429 the pause lasted %s, want the %s of its Retry-After", took, 2*after)
			}
			// A 503 can have a Retry-After as well.
			r.polled(0, Unavailable, time.Now().Add(3*after), true, "503")
			r.Release()
			if took := r.wantProbe(); took != 3*after {
				t.Errorf("after the probe's 503 the pause lasted %s, want the %s of its Retry-After", took, 3*after)
			}
		})
	}
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.polled(0, Throttled, time.Now().Add(-time.Hour), false, "429")
		if took := r.wantProbe(); took < 800*time.Millisecond {
			t.Errorf("with a Retry-After that has passed the pause lasted %s, want the usual second", took)
		}
	})
}

// While the vendor fails for all, pauses double up to the longest one, with one poll per pause.
func TestBreakerPausesDouble(t *testing.T) {
	const jitter = 0.2
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, maxKnown)
		differ := false
		want := minPause
		for i := range 14 {
			took := r.wantProbe()
			least := time.Duration(float64(want) * (1 - jitter))
			most := time.Duration(float64(want)*(1+jitter)) + time.Microsecond
			if took < least || took > most {
				t.Errorf("pause %d lasted %s, want between %s and %s", i+1, took, least, most)
			}
			differ = differ || took != want
			r.polled(0, Unavailable, time.Time{}, true, "503")
			r.Release()
			// When the first pause began, three had failed: the second one has their limit, and then pauses double.
			want = min(2*want, MaxPause)
			if i == 0 {
				want = pauseAfter * pauseEach
			}
		}
		if !differ {
			t.Error("the lengths have no jitter")
		}
		// Logged at the beginning, and again about every five minutes.
		if n := len(r.log.AllEntries()); n < 2 || n > 8 {
			t.Errorf("%d lines are logged of 14 failed probes, want the first and one every five minutes", n)
		}
		r.log.Reset()

		r.wantProbe()
		r.succeed(true)
		r.Release()
		r.wantWorking("after the probe succeeded")
		r.wantLogged("at the end", logrus.InfoLevel)

		// The next failure begins small again.
		time.Sleep(pauseQuiet)
		r.fail(Unavailable, pauseAfter)
		if took := r.wantProbe(); took > 1200*time.Millisecond+time.Microsecond {
			t.Errorf("the first pause after a success lasted %s, want a second within a fifth", took)
		}
	})
}

// Polls that were in flight when the pause began end during the pause.
func TestBreakerStragglers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.fail(Unavailable, 60)
		if took := r.wantProbe(); took > 1200*time.Millisecond+time.Microsecond {
			t.Errorf("stragglers that failed lengthened the pause to %s", took)
		}
		r.Release()
		r.succeed(false)
		r.wantWorking("after a straggler's success")
		r.wantLogged("in all", logrus.WarnLevel, logrus.InfoLevel)
	})
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.polled(0, Unavailable, time.Now().Add(time.Minute), false, "503")
		r.polled(0, Unavailable, time.Now().Add(2*time.Second), false, "503")
		if took := r.wantProbe(); took != time.Minute {
			t.Errorf("with a straggler's Retry-After of a minute the pause lasted %s", took)
		}
	})
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.polled(0, Throttled, time.Now().Add(time.Minute), false, "429")
		r.succeed(false)
		r.wantPaused("after the success of a poll that was in flight before the 429")
		if took := r.wantProbe(); took != time.Minute {
			t.Errorf("the throttled pause lasted %s after a straggler's success, want its minute", took)
		}
		r.succeed(true)
		r.wantWorking("after the probe's success")
	})
}

// A Retry-After counts also if the worker already pauses for another cause.
func TestBreakerThrottledStraggler(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.polled(0, Throttled, time.Now().Add(time.Minute), false, "429")
		r.succeed(false)
		r.wantPaused("after 503s, a 429, and the success of a poll that was in flight before")
		if took := r.wantProbe(); took != time.Minute {
			t.Errorf("the pause lasted %s, want the minute of Retry-After", took)
		}
	})
}

// A Retry-After also applies after a probe that was in flight when it came, and that fails for another reason.
func TestBreakerProbeFailsAfterRetryAfter(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.wantProbe()
		r.polled(0, Throttled, time.Now().Add(time.Minute), false, "429")
		r.polled(0, Unavailable, time.Time{}, true, "503")
		r.Release()
		if took := r.wantProbe(); took < time.Minute {
			t.Errorf("the next probe went %s after a Retry-After of a minute", took)
		}
	})
}

// A new token ends a pause that began because of the old one, and no other pause.
func TestBreakerCut(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.Cut(Unauthorized)
		r.wantWorking("nothing to cut")
		r.fail(Unauthorized, maxKnown)
		for range 8 { // up to some minutes
			r.wantProbe()
			r.fail(Unauthorized, 1)
			r.polled(0, Unauthorized, time.Time{}, true, "401")
			r.Release()
		}
		r.Cut(Unavailable)
		if left := time.Until(r.Until()); left < time.Minute {
			t.Fatalf("another cause left %s of the pause, want it whole", left)
		}
		r.Cut(Unauthorized)
		if took := r.wantProbe(); took != 0 {
			t.Errorf("a probe went after %s, want at once", took)
		}
		// The new token may be rejected as well: that begins small again.
		r.polled(0, Unauthorized, time.Time{}, true, "401")
		r.Release()
		if took := r.wantProbe(); took > 1200*time.Millisecond+time.Microsecond {
			t.Errorf("the pause after that lasted %s, want a second within a fifth", took)
		}
	})
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unauthorized, pauseAfter)
		r.polled(0, Unauthorized, time.Now().Add(time.Minute), false, "401")
		r.Cut(Unauthorized)
		if took := r.wantProbe(); took != time.Minute {
			t.Errorf("a probe went after %s, want when the vendor asked for it", took)
		}
	})
}
