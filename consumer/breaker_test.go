package consumer

import (
	"context"
	"io"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"statusworker/schema"
)

// testBreaker is a pause in fake time, and what it logs.
type testBreaker struct {
	*breaker
	t   *testing.T
	log *logtest.Hook
	ids *int
}

// another is an interaction that was not polled before.
func (r testBreaker) another() string {
	*r.ids++
	return strconv.Itoa(*r.ids)
}

// quietAfter is how long nothing may have succeeded before the worker pauses because all is refused.
const quietAfter = time.Minute

func inFakeTime(t *testing.T, test func(t *testing.T, r testBreaker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log, hook := captureLog()
		test(t, testBreaker{breaker: newBreaker(time.Now, log, Intervals{Audio: quietAfter / 2, Chat: quietAfter / 12, Transcript: quietAfter / 12}, quietAfter), t: t, log: hook, ids: new(int)})
	})
}

// captureLog keeps what is logged.
func captureLog() (*logrus.Logger, *logtest.Hook) {
	log, hook := logtest.NewNullLogger()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.DebugLevel)
	return log, hook
}

// polled reports a poll of an interaction that was not polled before.
func (r testBreaker) polled(lane int, trouble VendorFailure, until time.Time, probe bool, detail string) {
	r.report(pollReport{lane: lane, identifier: r.another(), trouble: trouble, until: until, probe: probe, detail: detail})
}

// fail reports polls of as many interactions with trouble, which are no probes.
func (r testBreaker) fail(trouble VendorFailure, times int) {
	for range times {
		r.polled(0, trouble, time.Time{}, false, "503")
	}
}

func (r testBreaker) succeed(probe bool) { r.polled(0, NoFailure, time.Time{}, probe, "") }

// doubted tells whether a refusal of an interaction is doubted by what the pause knows of others.
func (r testBreaker) doubted(identifier string, statusCode int, first time.Time) bool {
	return r.others(identifier, statusCode).doubt(first, 0)
}

// refuse reports polls of as many interactions that the vendor refused, which are no probes.
func (r testBreaker) refuse(statusCode, times int) {
	for range times {
		r.report(pollReport{identifier: r.another(), refused: statusCode, detail: "404"})
	}
}

// wantProbe waits to be admitted, as a probe, and says how long that took.
func (r testBreaker) wantProbe() time.Duration {
	r.t.Helper()
	began := time.Now()
	probe, err := r.admit(r.t.Context(), 1)
	if !probe || err != nil {
		r.t.Fatalf("admit gave probe %t, error %v, want a probe", probe, err)
	}
	return time.Since(began)
}

// wantWorking fails the test unless everyone is admitted at once.
func (r testBreaker) wantWorking(why string) {
	r.t.Helper()
	began := time.Now()
	probe, err := r.admit(r.t.Context(), 1)
	if probe || err != nil || time.Since(began) != 0 || !r.mayPoll() {
		r.t.Fatalf("%s: admit gave probe %t, error %v after %s, mayPoll %t, want the worker working", why, probe, err, time.Since(began), r.mayPoll())
	}
}

func (r testBreaker) wantPaused(why string) {
	r.t.Helper()
	if r.mayPoll() {
		r.t.Fatalf("%s: the worker works, want it to rest", why)
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
		if _, err := r.admit(ctx, 1); err == nil {
			t.Error("admit gave no error though its context had ended")
		}
	})
}

// One interaction that always fails, or two, are no outage, however long they do.
func TestBreakerCountsInteractions(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		began := time.Now()
		for range 1000 {
			for _, id := range []string{"one", "two"} {
				r.report(pollReport{identifier: id, trouble: Unavailable, detail: "500"})
				time.Sleep(5 * time.Second)
				r.wantWorking("while two interactions fail")
			}
		}
		if n, most := len(r.log.AllEntries()), int(time.Since(began)/tellEvery)+1; n == 0 || n > most {
			t.Errorf("%d lines are logged, want 1 to %d", n, most)
		}
		if e := r.log.LastEntry(); e.Data["cause"] != Unavailable || e.Data["interaction"] == nil || e.Data["detail"] != "500" {
			t.Errorf("logged %v, want the cause, an interaction and the detail", e.Data)
		}
		r.report(pollReport{identifier: "three", trouble: Unavailable, detail: "500"})
		r.wantPaused("when a third one fails")
	})
	// A refused token is everybody's.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		for range pauseAfter {
			r.wantWorking("while few polls have failed")
			r.report(pollReport{identifier: "one", trouble: Unauthorized, detail: "401"})
		}
		r.wantPaused("when the token was refused three times")
	})
	// A vendor that says 429 is believed at once, but not for long where nobody else says so.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.report(pollReport{identifier: "one", trouble: Throttled})
		for range 20 {
			if took := r.wantProbe(); took > 1200*time.Millisecond+time.Microsecond {
				t.Fatalf("the rest lasted %s, want a second within a fifth", took)
			}
			r.report(pollReport{identifier: "one", trouble: Throttled, probe: true})
			r.release()
		}
	})
}

// A pause is no longer than half a second for each interaction that failed, so that the next one soon shows what the vendor does.
func TestBreakerIsShortWhereFewFail(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		for n := range 3 {
			r.report(pollReport{identifier: strconv.Itoa(-n), trouble: Unavailable})
		}
		for range 50 {
			if took := r.wantProbe(); took > 1800*time.Millisecond+time.Microsecond {
				t.Fatalf("with three that fail the rest lasted %s, want at most 1.5s and a fifth", took)
			}
			r.report(pollReport{identifier: "-1", trouble: Unavailable, probe: true})
			r.release()
		}
		for range 2 { // pauses
			for _, id := range []string{"0", "-1", "-2"} {
				if !r.passesOver(id, false) || r.passesOver(id, false) {
					t.Errorf("a probe of %s does not leave its turn to others, once", id)
				}
			}
			if r.passesOver("new", false) {
				t.Error("a probe of an interaction that was never polled leaves its turn to others")
			}
			r.wantProbe()
			r.report(pollReport{identifier: "-1", trouble: Unavailable, probe: true})
			r.release()
		}
		// An interaction that was polled before gives way too, but not without end.
		over := 0
		for r.passesOver(strconv.Itoa(1000+over), true) {
			over++
		}
		if over != maxPassed {
			t.Errorf("a probe passed over %d, want %d", over, maxPassed)
		}
		r.succeed(false)
		if r.passesOver("0", false) || r.passesOver("another", true) {
			t.Error("after a success an interaction is still known to fail")
		}
	})
}

// A vendor that refuses one interaction after the other, in the same way, and gives no status, refuses all.
func TestBreakerRefused(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.refuse(404, refusedMany-1)
		r.wantWorking("while few are refused")
		for range 100 { // the same ones
			r.report(pollReport{identifier: "1", refused: 404})
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
		if l := r.look(); l.Cause != Refused || l.Detail != "404" {
			t.Errorf("the rest is %+v, want it because of %s", l, Refused)
		}
		if !r.doubted("1", 404, time.Now()) || !r.doubted("1", 400, time.Now()) {
			t.Error("refusals are believed while the worker rests because of them")
		}
		if !r.passesOver("1", false) || r.passesOver("new", false) {
			t.Error("what was refused is not known, or what was not is")
		}
		// It ends with a status, and with nothing else.
		r.wantProbe()
		r.report(pollReport{identifier: "x", refused: 404, probe: true, detail: "404"})
		r.release()
		r.wantPaused("after a probe that was refused")
		began := r.others("1", 404).Since
		r.wantProbe()
		r.polled(0, Unavailable, time.Time{}, true, "503")
		r.release()
		if l := r.look(); l.Cause != Unavailable {
			t.Errorf("after a 503 the rest is %+v", l)
		}
		time.Sleep(time.Second)
		r.succeed(false)
		r.wantWorking("after a status")
		if r.doubted("1", 404, time.Now()) {
			t.Error("refusals are doubted after a status")
		}
		if !r.others("1", 404).Since.Equal(time.Now()) || !r.others("1", 404).Since.After(began) {
			t.Errorf("the worker can tell refusals apart since %s, want since the status", r.others("1", 404).Since)
		}
	})
	// Where others succeed, many refusals are doubted and nobody pauses.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		began := r.others("1", 404).Since
		for range 10 {
			r.succeed(false)
			r.refuse(404, 2*refusedMany)
			r.wantWorking("while others succeed")
			if !r.doubted("1", 404, time.Now()) || r.doubted("1", 410, time.Now()) {
				t.Errorf("404 is doubted %t, 410 %t", r.doubted("1", 404, time.Now()), r.doubted("1", 410, time.Now()))
			}
			time.Sleep(quietAfter - time.Second)
		}
		if !r.others("1", 404).Since.Equal(began) {
			t.Error("the worker has forgotten since when it watches")
		}
		time.Sleep(time.Second)
		r.refuse(404, 1)
		r.wantPaused("when nothing has succeeded for long")
	})
	// What was refused while others had a status is believed, also when nothing else is left to poll.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		began := time.Now()
		time.Sleep(quietAfter/2 - 1)
		r.succeed(false)
		r.refuse(404, 2*refusedMany)
		if !r.doubted("1", 404, began) {
			t.Error("with a success of others for less than an interval, a refusal of many is believed")
		}
		time.Sleep(time.Nanosecond)
		r.succeed(false)
		time.Sleep(2 * quietAfter)
		r.refuse(404, 2*refusedMany)
		r.wantPaused("when nothing has succeeded for long")
		if r.doubted("1", 404, began) || !r.doubted("1", 404, began.Add(1)) {
			t.Errorf("the first refusal %s before the last success is doubted %t, one later %t", quietAfter/2, r.doubted("1", 404, began), r.doubted("1", 404, began.Add(1)))
		}
	})
	// One that ends its interaction begins no pause, and counts all the same.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		for range refusedMany - 1 {
			if r.doubted("new", 404, time.Now()) {
				t.Error("few refusals are doubted")
			}
			r.report(pollReport{identifier: r.another(), refused: 404, ended: true})
			time.Sleep(quietAfter)
		}
		if !r.doubted("new", 404, time.Now()) {
			t.Error("one refusal after the other is believed, and nothing succeeds")
		}
		r.wantWorking("while refused interactions end")
		r.refuse(404, 1)
		r.wantPaused("when many are refused, and one does not end")
		r.wantProbe()
		r.report(pollReport{identifier: "1", refused: 404, ended: true, probe: true})
		r.release()
		r.wantWorking("when one ends by it")
	})
	// Those that are refused while others succeed, however rarely, are no sign that all are.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		began := r.others("1", 404).Since
		deleted := []string{"a", "b", "c", "d", "e", "f"}
		r.succeed(false)
		for range 20 {
			for _, id := range deleted {
				r.report(pollReport{identifier: id, refused: 404})
			}
			r.succeed(false)
			time.Sleep(quietAfter/2 - 1)
		}
		r.wantWorking("while the same ones are refused")
		if !r.others("a", 404).Since.Equal(began) {
			t.Error("the worker has forgotten since when it watches")
		}
		time.Sleep(quietAfter/2 + 1)
		r.refuse(404, refusedMany)
		r.wantPaused("when others are refused as well")
	})
	// A gateway that refuses more and more has refused each before the last success: when nothing succeeds any more, it refuses all.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		for range 3 {
			for n := range refusedMany {
				r.report(pollReport{identifier: strconv.Itoa(n), refused: 404})
			}
			r.succeed(false)
			time.Sleep(quietAfter / 4)
		}
		r.report(pollReport{identifier: "0", refused: 404})
		r.wantWorking("while others may succeed")
		time.Sleep(quietAfter)
		for n := range refusedMany {
			r.report(pollReport{identifier: strconv.Itoa(n), refused: 404})
		}
		r.wantPaused("when nothing has succeeded for long, and they have not ended")
	})
	// However many are refused, the last status of each is known.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		for _, code := range []int{404, 400} {
			for n := range 2 * maxKnown {
				r.report(pollReport{identifier: strconv.Itoa(n), refused: code, ended: true})
			}
			if have := r.others("1", code).RefusedAlike; have != maxKnown {
				t.Errorf("%d are refused with %d, want %d", have, code, maxKnown)
			}
		}
	})
	// A refusal is an answer: a vendor that was away is back.
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.wantProbe()
		r.report(pollReport{identifier: "x", refused: 404, probe: true})
		r.release()
		r.wantWorking("after a refusal")
	})
}

func TestBreakerBegins(t *testing.T) {
	for _, trouble := range []VendorFailure{Unavailable, Unauthorized} {
		inFakeTime(t, func(t *testing.T, r testBreaker) {
			r.fail(trouble, pauseAfter)
			r.wantPaused("after three failures in a row")
			r.wantLogged("at the beginning", logrus.WarnLevel)
			e := r.log.LastEntry()
			if e.Data["cause"] != trouble || e.Data["detail"] != "503" || e.Data["resume_at"] == nil {
				t.Errorf("logged %v, want the cause, until when, and the detail", e.Data)
			}
			if took := r.wantProbe(); took < 800*time.Millisecond || took > 1200*time.Millisecond+time.Microsecond {
				t.Errorf("%s: the first rest lasted %s, want 1s within a fifth", trouble, took)
			}
		})
	}
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Throttled, 1)
		r.wantPaused("after one 429")
		if took := r.wantProbe(); took < 800*time.Millisecond || took > 1200*time.Millisecond+time.Microsecond {
			t.Errorf("without Retry-After the first rest lasted %s, want 1s within a fifth", took)
		}
	})
}

func TestBreakerUntilRetryAfter(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 7 * time.Second, time.Hour} {
		inFakeTime(t, func(t *testing.T, r testBreaker) {
			r.polled(0, Throttled, time.Now().Add(after), false, "429")
			r.wantPaused("after a 429")
			if took := r.wantProbe(); took != after {
				t.Errorf("the rest lasted %s, want the %s of Retry-After", took, after)
			}
			r.polled(0, Throttled, time.Now().Add(2*after), true, "429")
			r.release()
			if took := r.wantProbe(); took != 2*after {
				t.Errorf("after the probe's 429 the rest lasted %s, want the %s of its Retry-After", took, 2*after)
			}
			// A 503 may say it as well.
			r.polled(0, Unavailable, time.Now().Add(3*after), true, "503")
			r.release()
			if took := r.wantProbe(); took != 3*after {
				t.Errorf("after the probe's 503 the rest lasted %s, want the %s of its Retry-After", took, 3*after)
			}
		})
	}
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.polled(0, Throttled, time.Now().Add(-time.Hour), false, "429")
		if took := r.wantProbe(); took < 800*time.Millisecond {
			t.Errorf("with a Retry-After that has passed the rest lasted %s, want the usual second", took)
		}
	})
}

// While the vendor fails for all, a pause doubles up to its greatest length, and there is one poll a pause.
func TestBreakerGrows(t *testing.T) {
	const jitter = 0.2
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, maxKnown)
		differ := false
		want := minPause
		for i := range 14 {
			took := r.wantProbe()
			least, most := time.Duration(float64(want)*(1-jitter)), time.Duration(float64(want)*(1+jitter))+time.Microsecond
			if took < least || took > most {
				t.Errorf("rest %d lasted %s, want between %s and %s", i+1, took, least, most)
			}
			differ = differ || took != want
			r.polled(0, Unavailable, time.Time{}, true, "503")
			r.release()
			// When the first pause began, three had failed: it may grow to what these allow, and then doubles.
			want = min(2*want, maxPause)
			if i == 0 {
				want = pauseAfter * pauseEach
			}
		}
		if !differ {
			t.Error("the lengths have no jitter")
		}
		// At the beginning, and again every five minutes or so: an operator who looks in finds the cause.
		if n := len(r.log.AllEntries()); n < 2 || n > 8 {
			t.Errorf("%d lines are logged of 14 failed probes, want the first and one every five minutes", n)
		}
		r.log.Reset()

		r.wantProbe()
		r.succeed(true)
		r.release()
		r.wantWorking("after the probe succeeded")
		r.wantLogged("at the end", logrus.InfoLevel)

		// The next trouble begins small again.
		time.Sleep(pauseQuiet)
		r.fail(Unavailable, pauseAfter)
		if took := r.wantProbe(); took > 1200*time.Millisecond+time.Microsecond {
			t.Errorf("the first rest after a success lasted %s, want a second within a fifth", took)
		}
	})
}

// Several lanes wait; one of them probes at a time, and when it succeeds all go on.
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
				probe, err := r.admit(t.Context(), 1)
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
				t.Fatalf("%s: a second lane was admitted while the probe is out", why)
			}
		}
		wantOne("when the rest is over")
		r.release() // it had nothing due: the next lane probes at once
		began := time.Now()
		wantOne("after a release without a report")
		if took := time.Since(began); took != time.Hour {
			t.Errorf("the next probe went %s after the release, want at once", took-time.Hour)
		}
		r.succeed(true)
		r.release()
		if a := <-got; a.probe || a.err != nil {
			t.Errorf("after the probe succeeded a lane was admitted with probe %t, error %v", a.probe, a.err)
		}
		r.wantWorking("after the probe succeeded")
		r.wantLogged("in all", logrus.WarnLevel, logrus.InfoLevel)
	})
}

// However many lanes there are: while the vendor fails for all, each pause costs it one poll.
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
					probe, err := r.admit(ctx, 1)
					if err != nil {
						if probe {
							r.release()
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
					r.release()
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
			t.Errorf("%d polls in ten minutes of rests that double, want 8 to 10", n)
		}
	})
}

// Polls that were out when the pause began come home while it lasts.
func TestBreakerStragglers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.fail(Unavailable, 60)
		if took := r.wantProbe(); took > 1200*time.Millisecond+time.Microsecond {
			t.Errorf("stragglers that failed lengthened the rest to %s", took)
		}
		r.release()
		r.succeed(false)
		r.wantWorking("after a straggler's success")
		r.wantLogged("in all", logrus.WarnLevel, logrus.InfoLevel)
	})
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.polled(0, Unavailable, time.Now().Add(time.Minute), false, "503")
		r.polled(0, Unavailable, time.Now().Add(2*time.Second), false, "503")
		if took := r.wantProbe(); took != time.Minute {
			t.Errorf("with a straggler's Retry-After of a minute the rest lasted %s", took)
		}
	})
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.polled(0, Throttled, time.Now().Add(time.Minute), false, "429")
		r.succeed(false)
		r.wantPaused("after the success of a poll that was out before the 429")
		if took := r.wantProbe(); took != time.Minute {
			t.Errorf("the throttled rest lasted %s after a straggler's success, want its minute", took)
		}
		r.succeed(true)
		r.wantWorking("after the probe's success")
	})
}

// A Retry-After counts also when it comes while the worker pauses for another cause already.
func TestBreakerThrottledStraggler(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.polled(0, Throttled, time.Now().Add(time.Minute), false, "429")
		r.succeed(false)
		r.wantPaused("after 503s, a 429, and the success of a poll that was out before")
		if took := r.wantProbe(); took != time.Minute {
			t.Errorf("the rest lasted %s, want the minute of Retry-After", took)
		}
	})
}

// A probe that outlived its pause says nothing about the next one.
func TestBreakerProbeOfAnEarlierRest(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.wantProbe()
		r.succeed(false) // a straggler ends the pause while the probe is out
		r.wantWorking("after a straggler's success")
		r.polled(0, Throttled, time.Now().Add(time.Minute), false, "429")
		r.succeed(true)
		r.wantPaused("after a 429 and the success of a probe that was out before")
		r.release()
	})
}

// What the vendor asked for outlives a probe that was out when it did, and that fails for another reason.
func TestBreakerProbeFailsAfterRetryAfter(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.wantProbe()
		r.polled(0, Throttled, time.Now().Add(time.Minute), false, "429")
		r.polled(0, Unavailable, time.Time{}, true, "503")
		r.release()
		if took := r.wantProbe(); took < time.Minute {
			t.Errorf("the next probe went %s after a Retry-After of a minute", took)
		}
	})
}

// A change of cause is worth a line; the same cause again is not.
func TestBreakerLogsAnotherCause(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		for _, trouble := range []VendorFailure{Unavailable, Throttled, Throttled, Unauthorized} {
			r.wantProbe()
			r.polled(0, trouble, time.Time{}, true, "")
			r.release()
		}
		r.wantLogged("in all", logrus.WarnLevel, logrus.WarnLevel, logrus.WarnLevel)
		r.wantProbe()
		r.succeed(true)
		r.succeed(true)
		r.wantLogged("in all", logrus.WarnLevel, logrus.WarnLevel, logrus.WarnLevel, logrus.InfoLevel)
	})
}

func TestBreakerAdmitEndsWithContext(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r.fail(Unavailable, pauseAfter)
		if probe, err := r.admit(ctx, 1); probe || err == nil {
			t.Errorf("admit gave probe %t, error %v, want the context's error", probe, err)
		}
		r.wantProbe() // the probe is still to be had
	})
}

// What the pause says of itself, at every moment of one.
func TestBreakerLook(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		want := func(why string, state schema.WorkerState, cause VendorFailure, detail string) {
			t.Helper()
			if l := r.look(); l.State != state || l.Cause != cause || l.Detail != detail || l.Until.IsZero() != (state == schema.Working) {
				t.Errorf("%s: %+v, want %s because of %q: %q", why, l, state, cause, detail)
			}
			if over := r.over(); over.IsZero() != (state == schema.Working) {
				t.Errorf("%s: the rest is over at %s", why, over)
			}
		}
		want("new", schema.Working, NoFailure, "")
		r.fail(Unauthorized, pauseAfter)
		want("after three failures", schema.Paused, Unauthorized, "503")
		r.wantProbe()
		want("when the rest is over", schema.Probing, Unauthorized, "503")
		r.polled(0, Unavailable, time.Time{}, true, "no answer")
		r.release()
		want("after the probe failed", schema.Paused, Unavailable, "no answer")
		r.wantProbe()
		r.succeed(true)
		r.release()
		want("after the probe succeeded", schema.Working, NoFailure, "")
	})
}

// Another token cuts the pause short that the old one began, and no other.
func TestBreakerCut(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.cut(Unauthorized)
		r.wantWorking("nothing to cut")
		r.fail(Unauthorized, maxKnown)
		for range 8 { // up to some minutes
			r.wantProbe()
			r.fail(Unauthorized, 1)
			r.polled(0, Unauthorized, time.Time{}, true, "401")
			r.release()
		}
		r.cut(Unavailable)
		if left := time.Until(r.over()); left < time.Minute {
			t.Fatalf("another cause left %s of the rest, want it whole", left)
		}
		r.cut(Unauthorized)
		if took := r.wantProbe(); took != 0 {
			t.Errorf("a probe went after %s, want at once", took)
		}
		// The new token may be refused as well: that begins small again.
		r.polled(0, Unauthorized, time.Time{}, true, "401")
		r.release()
		if took := r.wantProbe(); took > 1200*time.Millisecond+time.Microsecond {
			t.Errorf("the rest after that lasted %s, want a second within a fifth", took)
		}
	})
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unauthorized, pauseAfter)
		r.polled(0, Unauthorized, time.Now().Add(time.Minute), false, "401")
		r.cut(Unauthorized)
		if took := r.wantProbe(); took != time.Minute {
			t.Errorf("a probe went after %s, want when the vendor asked for it", took)
		}
	})
}

// Polls come in bunches, a lane at a time. One lane that fails among others that do not begins no pause, unless for a
// second, or for as many polls as can be out at once, nothing else has succeeded.
func TestBreakerOneLaneFailsAmongOthers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		for range 50 {
			r.succeed(false)
			time.Sleep(pauseQuiet - time.Millisecond)
			r.fail(Unavailable, maxPull)
			r.wantWorking("after a bunch of failures")
		}
		r.wantLogged("all the while")

		r.succeed(false)
		r.fail(Unavailable, pauseSurely-1)
		r.wantWorking("within a second of a success")
		r.fail(Unavailable, 1)
		r.wantPaused("after as many failures as can be out")
	})
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.succeed(false)
		r.fail(Unavailable, pauseAfter)
		time.Sleep(pauseQuiet)
		r.wantWorking("nothing has failed since")
		r.fail(Unavailable, 1)
		r.wantPaused("a second after the last success")
	})
	for _, trouble := range []VendorFailure{Unauthorized, Throttled} {
		inFakeTime(t, func(t *testing.T, r testBreaker) {
			r.succeed(false)
			r.fail(trouble, pauseAfter)
			r.wantPaused("a refused token, or a vendor that throttles, is everybody's")
		})
	}
}

// After a lane's probe has failed, another lane has its turn first.
func TestBreakerProbesGoRound(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		r.wantProbe()
		r.polled(7, Unavailable, time.Time{}, true, "503")
		r.release()
		over := r.over()
		type turn struct {
			lane  int
			after time.Duration
		}
		turns := make(chan turn)
		for _, lane := range []int{7, 8} {
			go func() {
				if probe, err := r.admit(t.Context(), lane); !probe || err != nil {
					t.Errorf("lane %d was admitted with probe %t, error %v", lane, probe, err)
				}
				turns <- turn{lane, time.Since(over)}
			}()
		}
		if first := <-turns; first.lane != 8 || first.after != 0 {
			t.Errorf("lane %d has the probe %s after the rest, want the other one at once", first.lane, first.after)
		}
		time.Sleep(probeHandicap)
		r.release() // it had nothing due
		if second := <-turns; second.lane != 7 {
			t.Errorf("then lane %d has it", second.lane)
		}
	})
}

// A vendor that comes and goes is told once every few minutes, with how often it paused since.
func TestBreakerThatFlapsFillsNoLog(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r testBreaker) {
		r.log.Reset()
		began := time.Now()
		rests := 0
		for time.Since(began) < time.Hour {
			r.fail(Unauthorized, pauseAfter)
			rests++
			r.wantProbe()
			r.succeed(true)
			r.release()
		}
		warned, times, ended := 0, 0, 0
		for _, e := range r.log.AllEntries() {
			switch e.Level {
			case logrus.WarnLevel:
				warned++
				times += e.Data["pauses"].(int)
			case logrus.InfoLevel:
				ended++
			}
		}
		if most := int(time.Hour/tellEvery) + 1; warned > most || warned < most/2 || ended != warned {
			t.Errorf("%d warnings and %d ends in an hour of %d rests, want one of each every %s", warned, ended, rests, tellEvery)
		}
		if times < rests*9/10 {
			t.Errorf("the log tells of %d rests, there were %d", times, rests)
		}
	})
}
