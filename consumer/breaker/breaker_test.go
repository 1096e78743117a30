package breaker

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"statusworker/schema"
)

// testBreaker is a breaker in fake time, with its log.
type testBreaker struct {
	*Breaker
	t   *testing.T
	log *logtest.Hook
	ids *int
}

// another is an interaction that was not polled before.
func (r testBreaker) another() string {
	*r.ids++
	return strconv.Itoa(*r.ids)
}

// quietAfter is how long nothing must have succeeded before the worker pauses because the vendor refuses all.
const quietAfter = time.Minute

// bunch is the number of polls that a lane makes at once.
const bunch = 32

func inFakeTime(t *testing.T, test func(t *testing.T, r testBreaker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log, hook := captureLog()
		test(t, testBreaker{
			Breaker: New(Config{Now: time.Now, Log: log, Shortest: quietAfter / 12, Longest: quietAfter / 2,
				Slack: time.Second, Grace: quietAfter}),
			t: t, log: hook, ids: new(int),
		})
	})
}

// captureLog returns a logger and what it logs.
func captureLog() (*logrus.Logger, *logtest.Hook) {
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	return log, hook
}

// polled reports a poll of an interaction that was not polled before.
func (r testBreaker) polled(lane int, failure Failure, until time.Time, probe bool, detail string) {
	r.Report(Report{Lane: lane, Identifier: r.another(), Failure: failure, RetryAt: until, Probe: probe,
		Detail: detail})
}

// fail reports failed polls of different interactions, which are not probes.
func (r testBreaker) fail(failure Failure, times int) {
	for range times {
		r.polled(0, failure, time.Time{}, false, "503")
	}
}

func (r testBreaker) succeed(probe bool) { r.polled(0, NoFailure, time.Time{}, probe, "") }

// doubted reports whether a refusal of an interaction is doubted.
func (r testBreaker) doubted(identifier string, statusCode int, first time.Time) bool {
	return r.Others(identifier, statusCode).Doubt(first, 0)
}

// refuse reports refusals of different interactions, which are not probes.
func (r testBreaker) refuse(statusCode, times int) {
	for range times {
		r.Report(Report{Identifier: r.another(), Refused: statusCode, Detail: "404"})
	}
}

// wantProbe waits to be admitted as a probe, and returns how long that took.
func (r testBreaker) wantProbe() time.Duration {
	r.t.Helper()
	began := time.Now()
	probe, err := r.Admit(r.t.Context(), 1)
	if !probe || err != nil {
		r.t.Fatalf("Admit returned probe %t, error %v, want a probe", probe, err)
	}
	return time.Since(began)
}

// wantWorking fails the test unless a lane is admitted at once.
func (r testBreaker) wantWorking(why string) {
	r.t.Helper()
	began := time.Now()
	probe, err := r.Admit(r.t.Context(), 1)
	if probe || err != nil || time.Since(began) != 0 || !r.MayPoll() {
		r.t.Fatalf("%s: Admit returned probe %t, error %v after %s, mayPoll %t, want the worker working",
			why, probe, err, time.Since(began), r.MayPoll())
	}
}

func (r testBreaker) wantPaused(why string) {
	r.t.Helper()
	if r.MayPoll() {
		r.t.Fatalf("%s: the worker works, want it to pause", why)
	}
}

// wantLogged compares the levels of everything logged so far.
func (r testBreaker) wantLogged(why string, want ...logrus.Level) {
	r.t.Helper()
	var got []logrus.Level
	for _, e := range r.log.AllEntries() {
		got = append(got, e.Level)
	}
	equal := len(got) == len(want)
	for i := 0; equal && i < len(want); i++ {
		equal = got[i] == want[i]
	}
	if !equal {
		r.t.Fatalf("%s: logged %v, want %v", why, got, want)
	}
}

func TestBreakerWorking(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.wantWorking("new")
		r.succeed(false)
		r.wantWorking("after a success")
		for range 20 {
			r.fail(Unavailable, pauseAfter-1)
			r.wantWorking("after fewer failures than it takes")
			r.succeed(false)
		}
		r.wantLogged("all the while")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Admit(ctx, 1); err == nil {
			t.Error("Admit returned no error though its context had ended")
		}
	})
}

// One or two interactions that always fail are not an outage, however long they do.
func TestBreakerCountsInteractions(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		began := time.Now()
		for range 1000 {
			for _, id := range []string{"one", "two"} {
				r.Report(Report{Identifier: id, Failure: Unavailable, Detail: "500"})
				time.Sleep(5 * time.Second)
				r.wantWorking("while two interactions fail")
			}
		}
		if n, most := len(r.log.AllEntries()), int(time.Since(began)/logEvery)+1; n == 0 || n > most {
			t.Errorf("%d lines are logged, want 1 to %d", n, most)
		}
		e := r.log.LastEntry()
		if e.Data["cause"] != Unavailable || e.Data["interaction"] == nil || e.Data["detail"] != "500" {
			t.Errorf("logged %v, want the cause, an interaction and the detail", e.Data)
		}
		r.Report(Report{Identifier: "three", Failure: Unavailable, Detail: "500"})
		r.wantPaused("when a third one fails")
	})
	// A rejected token concerns all interactions.
	inFakeTime(t, func(_ *testing.T, r testBreaker) {
		for range pauseAfter {
			r.wantWorking("while few polls have failed")
			r.Report(Report{Identifier: "one", Failure: Unauthorized, Detail: "401"})
		}
		r.wantPaused("when the token was rejected three times")
	})
	// A 429 begins a pause at once, but not a long one if only one interaction gets it.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.Report(Report{Identifier: "one", Failure: Throttled})
		for range 20 {
			if took := r.wantProbe(); took > 1200*time.Millisecond+time.Microsecond {
				t.Fatalf("the pause lasted %s, want a second within a fifth", took)
			}
			r.Report(Report{Identifier: "one", Failure: Throttled, Probe: true})
			r.Release()
		}
	})
}

// A pause lasts at most half a second for each interaction that failed, so that the next one soon shows whether the
// vendor works.
func TestBreakerIsShortIfFewFail(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		for n := range 3 {
			r.Report(Report{Identifier: strconv.Itoa(-n), Failure: Unavailable})
		}
		for range 50 {
			if took := r.wantProbe(); took > 1800*time.Millisecond+time.Microsecond {
				t.Fatalf("with three that fail the pause lasted %s, want at most 1.5s and a fifth", took)
			}
			r.Report(Report{Identifier: "-1", Failure: Unavailable, Probe: true})
			r.Release()
		}
		for range 2 { // pauses
			for _, id := range []string{"0", "-1", "-2"} {
				if !r.PassesOver(id, false) || r.PassesOver(id, false) {
					t.Errorf("a probe of %s does not leave its turn to others, once", id)
				}
			}
			if r.PassesOver("new", false) {
				t.Error("a probe of a new interaction leaves its turn to others")
			}
			r.wantProbe()
			r.Report(Report{Identifier: "-1", Failure: Unavailable, Probe: true})
			r.Release()
		}
		// A probe skips only a limited number of interactions that were polled before.
		over := 0
		for r.PassesOver(strconv.Itoa(1000+over), true) {
			over++
		}
		if over != maxPassed {
			t.Errorf("a probe passed over %d, want %d", over, maxPassed)
		}
		r.succeed(false)
		if r.PassesOver("0", false) || r.PassesOver("another", true) {
			t.Error("after a success an interaction is still known to fail")
		}
	})
}

func TestBreakerAdmitEndsWithContext(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r.fail(Unavailable, pauseAfter)
		if probe, err := r.Admit(ctx, 1); probe || err == nil {
			t.Errorf("Admit returned probe %t, error %v, want the context's error", probe, err)
		}
		r.wantProbe() // the probe is still available
	})
}

// State at every step of a pause.
func TestBreakerState(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		want := func(why string, state schema.WorkerState, cause Failure, detail string) {
			t.Helper()
			if l := r.State(); l.State != state || l.Cause != cause || l.Detail != detail ||
				l.Until.IsZero() != (state == schema.Working) {
				t.Errorf("%s: %+v, want %s because of %q: %q", why, l, state, cause, detail)
			}
			if over := r.Until(); over.IsZero() != (state == schema.Working) {
				t.Errorf("%s: the pause ends at %s", why, over)
			}
		}
		want("new", schema.Working, NoFailure, "")
		r.fail(Unauthorized, pauseAfter)
		want("after three failures", schema.Paused, Unauthorized, "503")
		r.wantProbe()
		want("when the pause is over", schema.Probing, Unauthorized, "503")
		r.polled(0, Unavailable, time.Time{}, true, "no answer")
		r.Release()
		want("after the probe failed", schema.Paused, Unavailable, "no answer")
		r.wantProbe()
		r.succeed(true)
		r.Release()
		want("after the probe succeeded", schema.Working, NoFailure, "")
	})
}

// Lanes poll in bunches. If only one lane fails, the worker pauses only when nothing else has succeeded for a second,
// or for as many polls as can be in flight at once.
func TestBreakerOneLaneFailsAmongOthers(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r testBreaker) {
		for range 50 {
			r.succeed(false)
			time.Sleep(pauseQuiet - time.Millisecond)
			r.fail(Unavailable, bunch)
			r.wantWorking("after a bunch of failures")
		}
		r.wantLogged("all the while")

		r.succeed(false)
		r.fail(Unavailable, pauseSurely-1)
		r.wantWorking("within a second of a success")
		r.fail(Unavailable, 1)
		r.wantPaused("after as many failures as can be in flight")
	})
	inFakeTime(t, func(_ *testing.T, r testBreaker) {
		r.succeed(false)
		r.fail(Unavailable, pauseAfter)
		time.Sleep(pauseQuiet)
		r.wantWorking("nothing has failed since")
		r.fail(Unavailable, 1)
		r.wantPaused("a second after the last success")
	})
	for _, failure := range []Failure{Unauthorized, Throttled} {
		inFakeTime(t, func(_ *testing.T, r testBreaker) {
			r.succeed(false)
			r.fail(failure, pauseAfter)
			r.wantPaused("a rejected token, or a vendor that throttles, concerns all")
		})
	}
}
