package breaker

import "time"

const (
	// pauseAfter is how many interactions must fail, with no success between them, before the worker pauses: one that
	// always fails is no outage. A refused token is everybody's: there it is how many polls. A vendor that says 429 is
	// believed at once.
	pauseAfter = 3
	// pauseQuiet is how long nothing may have succeeded before a vendor that is unavailable is given a pause, and
	// pauseSurely how many interactions need no such wait. Polls come in bunches, a lane at a time: where one type of
	// interaction fails and the others do not, a bunch of failures says nothing about the vendor.
	pauseQuiet  = time.Second
	pauseSurely = 64
)

// Report says how a poll went.
type Report struct {
	Lane       int
	Identifier string
	Probe      bool
	// Failure is the vendor's, and Refused is the HTTP status with which the vendor refused the interaction, or 0. With
	// neither, the vendor gave a status: that is a success.
	Failure Failure
	Refused int
	// Ended says that the refusal has ended the interaction: it begins no pause, and counts among those that are
	// refused.
	Ended bool
	// RetryAt is when the vendor asks to be polled again, or zero; Detail is what it said.
	RetryAt time.Time
	Detail  string
}

// Report takes in how a poll went. It begins, lengthens and ends pauses.
func (b *Breaker) Report(r Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	switch {
	case r.Refused != 0:
		if !b.allRefused(r, now) {
			b.answered(now) // who refuses answers
			return
		}
		r.Failure = Refused
	case r.Failure == NoFailure:
		b.succeeded(r, now)
		b.answered(now)
		return
	case len(b.failed) < maxKnown:
		b.failed[r.Identifier] = true
	}
	b.streak++
	switch {
	case b.paused && !r.Probe && (r.Failure != Refused || b.cause == Refused):
		b.straggler(r, now)
	case b.paused || b.enough(r.Failure, now):
		b.begin(r, now)
	case b.streak >= pauseAfter && now.Sub(b.success) >= pauseQuiet:
		b.logFailing(r, now)
	}
}

// begin begins a pause, or the next one after a probe that failed.
func (b *Breaker) begin(r Report, now time.Time) {
	if r.Probe {
		b.handicapped = r.Lane
	}
	// What the backoff gives grows up to its maximum, which grows with what has failed.
	b.lengths.MaxInterval = min(max(minPause, time.Duration(max(len(b.failed), len(b.refused)))*pauseEach), MaxPause)
	next := now.Add(b.lengths.NextBackOff())
	if r.RetryAt.After(now) {
		next = r.RetryAt
	}
	if r.Failure == Throttled || r.RetryAt.After(now) {
		b.asked = later(b.asked, next)
	}
	next = later(b.asked, next)
	b.logPause(r, now, next)
	clear(b.passed)
	b.doubted = b.doubted || r.Failure == Refused
	b.paused, b.cause, b.until, b.detail = true, r.Failure, next, r.Detail
	b.broadcast()
}

// answered ends a pause: the vendor has answered. A poll that was out when the vendor asked to be left alone proves
// nothing about the time after it.
func (b *Breaker) answered(now time.Time) {
	clear(b.failed)
	clear(b.passed)
	b.streak = 0
	if !b.paused || now.Before(b.asked) {
		return
	}
	b.logEnd()
	b.paused, b.cause, b.detail, b.handicapped = false, NoFailure, "", -1
	b.lengths.Reset()
	b.broadcast()
}

// straggler takes in a poll that was out when the pause began, and failed as well.
func (b *Breaker) straggler(r Report, now time.Time) {
	until := r.RetryAt
	if until.After(b.until) {
		b.until = until
		b.broadcast()
	}
	if r.Failure == Throttled || until.After(now) {
		if !until.After(now) {
			until = b.until
		}
		b.asked, b.cause = later(b.asked, until), r.Failure
	}
}

// enough tells whether a failure is the vendor's, and not that of one interaction or one type.
func (b *Breaker) enough(f Failure, now time.Time) bool {
	switch {
	case f == Throttled, f == Refused:
		return true
	case f == Unauthorized:
		return b.streak >= pauseAfter
	case f == Unavailable && len(b.failed) < pauseSurely && now.Sub(b.success) < pauseQuiet:
		return false
	}
	return len(b.failed) >= pauseAfter
}
