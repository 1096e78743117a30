package breaker

import (
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// A change of cause is logged; the same cause again is not.
func TestBreakerLogsAnotherCause(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r testBreaker) {
		r.fail(Unavailable, pauseAfter)
		for _, failure := range []Failure{Unavailable, Throttled, Throttled, Unauthorized} {
			r.wantProbe()
			r.polled(0, failure, time.Time{}, true, "")
			r.Release()
		}
		r.wantLogged("in all", logrus.WarnLevel, logrus.WarnLevel, logrus.WarnLevel)
		r.wantProbe()
		r.succeed(true)
		r.succeed(true)
		r.wantLogged("in all", logrus.WarnLevel, logrus.WarnLevel, logrus.WarnLevel, logrus.InfoLevel)
	})
}

// A vendor that fails repeatedly is logged once every few minutes, with the number of pauses since.
func TestBreakerLogsRepeatedPausesRarely(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r testBreaker) {
		r.log.Reset()
		began := time.Now()
		pauses := 0
		for time.Since(began) < time.Hour {
			r.fail(Unauthorized, pauseAfter)
			pauses++
			r.wantProbe()
			r.succeed(true)
			r.Release()
		}
		warned, times, ended := 0, 0, 0
		for _, e := range r.log.AllEntries() {
			switch e.Level {
			case logrus.WarnLevel:
				warned++
				times += e.Data["pauses_since_last_warning"].(int)
			case logrus.InfoLevel:
				ended++
			}
		}
		if most := int(time.Hour/logEvery) + 1; warned > most || warned < most/2 || ended != warned {
			t.Errorf("%d warnings and %d ends in an hour of %d pauses, want one of each every %s", warned, ended,
				pauses, logEvery)
		}
		if times < pauses*9/10 {
			t.Errorf("the log counts %d pauses, there were %d", times, pauses)
		}
	})
}
