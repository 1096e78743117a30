package breaker

import "time"

const (
	// pauseAfter is how many interactions must fail, without an answer in between, before the worker pauses: one that
	// always fails is not an outage. A 401 or 403 concerns all interactions: then it is the number of polls. After a
	// 429 the worker pauses at once.
	pauseAfter = 3
	// pauseQuiet is how long nothing must have succeeded before the worker pauses because the vendor is unavailable.
	// After failures of pauseSurely interactions it does not wait for that. Lanes poll in bunches: if only one type of
	// interaction fails, a bunch of failures says nothing about the vendor.
	pauseQuiet  = time.Second
	pauseSurely = 64
)

// Report is the result of a poll.
type Report struct {
	Lane       int
	Identifier string
	Probe      bool
	// Failure is a failure of the vendor. Refused is the HTTP status with which the vendor refused the interaction. If
	// neither is set, the vendor returned a status: that is a success.
	Failure Failure
	Refused int
	// Ended means that the refusal ends the interaction. It begins no pause, but counts as a refusal.
	Ended bool
	// RetryAt is the vendor's Retry-After, or zero. Detail describes the failure.
	RetryAt time.Time
	Detail  string
}

// Report records the result of a poll. It begins, lengthens and ends pauses.
func (b *Breaker) Report(r Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	switch {
	case r.Refused != 0:
		if !b.allRefused(r, now) {
			b.answered(now) // a refusal is an answer
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
	// The backoff grows up to its maximum, which grows with the number of failed interactions.
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

// answered ends a pause, because the vendor has answered. A poll that was in flight when a Retry-After came does not.
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

// straggler records a failed poll that was in flight when the pause began.
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

// enough reports whether a failure is the vendor's, and not that of one interaction or one type.
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
