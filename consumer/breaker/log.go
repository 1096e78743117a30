package breaker

import (
	"time"

	"github.com/sirupsen/logrus"
)

// logEvery is how often a cause is logged again.
const logEvery = 5 * time.Minute

// probeAt is the format of the time of the next probe. It has milliseconds, because the first pause lasts only about a
// second.
const probeAt = "2006-01-02T15:04:05.000Z07:00"

// logFailing logs that polls fail while the worker does not pause: too few interactions are polled to know the cause.
func (b *Breaker) logFailing(r Report, now time.Time) {
	if !b.failing.IsZero() && now.Sub(b.failing) < logEvery {
		return
	}
	b.failing = now
	b.log.WithFields(logrus.Fields{
		"cause": r.Failure, "interactions": len(b.failed), "interaction": r.Identifier, "detail": r.Detail,
	}).Warn("polls failing; the worker does not pause yet")
}

// logged is when a cause was last logged, and how many pauses with it have begun since.
type logged struct {
	at     time.Time
	pauses int
	// open means that the current pause was logged, so that its end is logged too.
	open bool
}

// logPause logs a pause that begins, continues, or changes its cause. It warns about each cause at most every logEvery,
// so that a vendor that fails repeatedly does not fill the log. Pauses in between are logged at debug level.
func (b *Breaker) logPause(r Report, now, until time.Time) {
	l := b.logged[r.Failure]
	if l == nil {
		l = &logged{}
		b.logged[r.Failure] = l
	}
	begins := !b.paused || b.cause != r.Failure
	if begins {
		b.began[r.Failure]++
		l.pauses++
		l.open = false
	}
	level := logrus.DebugLevel
	if l.at.IsZero() || now.Sub(l.at) >= logEvery {
		level = logrus.WarnLevel
	} else if !begins {
		return
	}
	b.log.WithFields(logrus.Fields{
		"cause": r.Failure, "next_probe_at": until.UTC().Format(probeAt), "pauses_since_last_warning": l.pauses,
		"interaction": r.Identifier, "detail": r.Detail,
	}).Log(level, "polling paused")
	if level == logrus.WarnLevel {
		l.at, l.pauses, l.open = now, 0, true
	}
}

// logEnd logs the end of a pause, at info level if its begin was a warning.
func (b *Breaker) logEnd() {
	level := logrus.DebugLevel
	for _, l := range b.logged {
		if l.open {
			l.open, level = false, logrus.InfoLevel
		}
	}
	b.log.WithField("cause", b.cause).Log(level, "polling resumed")
}
