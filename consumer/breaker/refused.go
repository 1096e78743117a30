package breaker

import "time"

// refusedMany is how many interactions the vendor must refuse in the same way, without a success in between, before
// refusals are doubted: then the cause is the base URL, the account of the token, or the vendor.
const refusedMany = 5

// Others are the recent results of other interactions. Times of [Breaker.Others] are by this process's clock.
type Others struct {
	// RefusedAlike is the number of interactions, including this one, that the vendor has refused with the same HTTP
	// status since the last success.
	RefusedAlike int
	// AllRefused means that the worker pauses because the vendor refuses all.
	AllRefused bool
	// Succeeded is when the vendor last returned a status; zero if it never did.
	Succeeded time.Time
	// Since is when the worker began to distinguish refusals of one interaction from refusals of all. Earlier refusals
	// do not count.
	Since time.Time
	// Interval is the longest poll interval.
	Interval time.Duration
}

// Doubt reports whether refusals, the first of which came at that time, are perhaps not about this interaction. They
// are about it if the vendor has continued to return a status for others for half of the grace period.
func (o Others) Doubt(first time.Time, grace time.Duration) bool {
	if !o.Succeeded.IsZero() && o.Succeeded.Sub(first) >= amongOthers(o.Interval, grace) {
		return false
	}
	return o.AllRefused || o.RefusedAlike >= refusedMany
}

// amongOthers is for how long the vendor must have continued to return a status for others.
func amongOthers(interval, grace time.Duration) time.Duration { return max(interval, grace/2) }

// Others returns the results with which a refusal of an interaction with that HTTP status is compared.
func (b *Breaker) Others(identifier string, statusCode int) Others {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Others{
		RefusedAlike: b.refusedLike(identifier, statusCode), AllRefused: b.paused && b.cause == Refused,
		Succeeded: b.success, Since: b.watched, Interval: b.longest,
	}
}

// refusedLike is the number of interactions that were refused with that HTTP status, including the given one.
func (b *Breaker) refusedLike(identifier string, statusCode int) int {
	n := 1
	for other, code := range b.refused {
		if code == statusCode && other != identifier {
			n++
		}
	}
	return n
}

// allRefused records a refusal, and reports whether the vendor refuses all, which is a failure of the vendor.
// Interactions that it refused while others had a status do not show that.
func (b *Breaker) allRefused(r Report, now time.Time) bool {
	if len(b.refused) == 0 {
		b.refusedFrom = now
	}
	if b.refused[r.Identifier] != 0 || len(b.refused) < maxKnown {
		b.refused[r.Identifier] = r.Refused
	}
	if r.Ended {
		return false
	}
	if b.paused && b.cause == Refused {
		return true
	}
	alike := 0
	all := now.Sub(b.success) >= b.beforeQuiet
	for id, code := range b.refused {
		if code == r.Refused && (all || !b.before[id]) {
			alike++
		}
	}
	return alike >= refusedMany && b.quiet(now)
}

// succeeded records a status of the vendor: the refusals until then are about single interactions.
func (b *Breaker) succeeded(r Report, now time.Time) {
	if b.doubted {
		b.watched, b.doubted = now, false
	}
	b.success = now
	for id := range b.refused {
		if len(b.before) < maxKnown {
			b.before[id] = true
		}
	}
	clear(b.refused)
	delete(b.before, r.Identifier)
}

// quiet reports whether nothing has succeeded for so long that refusals are a failure of the vendor.
func (b *Breaker) quiet(now time.Time) bool {
	if b.success.IsZero() {
		return now.Sub(b.refusedFrom) >= b.shortest
	}
	return now.Sub(b.success) >= b.refusedQuiet
}
