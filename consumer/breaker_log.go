package consumer

import (
	"time"

	"github.com/sirupsen/logrus"
)

// tellEvery is how often a pause that goes on is logged again.
const tellEvery = 5 * time.Minute

// tellFailing logs that polls fail while the worker goes on: too few interactions are polled to know whose fault it is.
func (r *breaker) tellFailing(p pollReport, now time.Time) {
	if !r.toldFailing.IsZero() && now.Sub(r.toldFailing) < tellEvery {
		return
	}
	r.toldFailing = now
	r.log.WithFields(logrus.Fields{"cause": p.trouble, "interactions": len(r.failed), "interaction": p.identifier, "detail": p.detail}).
		Warn("polls failing")
}

// telling is when the log last heard of a cause, and how many pauses of it began since.
type telling struct {
	at    time.Time
	rests int
	// aloud says that the log heard of the pause that goes on, so that it has to hear of its end.
	aloud bool
}

// tell logs a pause that begins, one that has another cause now, and again one that goes on: each cause every few minutes,
// so that a vendor that comes and goes fills no log. The pauses between are there at debug level.
func (r *breaker) tell(trouble VendorFailure, now, until time.Time, detail string) {
	t := r.told[trouble]
	if t == nil {
		t = &telling{}
		r.told[trouble] = t
	}
	begins := !r.paused || r.cause != trouble
	if begins {
		r.began[trouble]++
		t.rests++
		t.aloud = false
	}
	level := logrus.DebugLevel
	if t.at.IsZero() || now.Sub(t.at) >= tellEvery {
		level = logrus.WarnLevel
	} else if !begins {
		return
	}
	r.log.WithFields(logrus.Fields{"cause": trouble, "resume_at": until.UTC().Format(time.RFC3339), "pauses": t.rests, "detail": detail}).
		Log(level, "polling paused")
	if level == logrus.WarnLevel {
		t.at, t.rests, t.aloud = now, 0, true
	}
}

// tellEnd logs that a pause has ended, where the log heard of it.
func (r *breaker) tellEnd() {
	level := logrus.DebugLevel
	for _, t := range r.told {
		if t.aloud {
			t.aloud, level = false, logrus.InfoLevel
		}
	}
	r.log.WithField("cause", r.cause).Log(level, "polling resumed")
}
