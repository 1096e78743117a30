package breaker

import "time"

// refusedMany is how many interactions the vendor must have refused in the same way, with no success between them,
// before refusals are doubted: then it is the address, the token's account, or the vendor itself.
const refusedMany = 5

// Others is what a worker knows of the interactions that it polled lately. [Breaker.Others] gives times by this
// process's clock.
type Others struct {
	// RefusedAlike is how many interactions, this one among them, the vendor has refused with the same HTTP status
	// since the last success.
	RefusedAlike int
	// AllRefused says that the worker pauses because the vendor refuses all.
	AllRefused bool
	// Succeeded is when the vendor last gave an interaction a status; zero where it never did.
	Succeeded time.Time
	// Since is when the worker began to tell a refusal of one from a refusal of all. Refusals from before count for
	// nothing.
	Since time.Time
	// Interval is the longest between two polls of one interaction.
	Interval time.Duration
}

// Doubt tells whether refusals, the first of which came at that time, may be none of this interaction's. They are this
// one's where the vendor has gone on for half of the grace to give others a status.
func (o Others) Doubt(first time.Time, grace time.Duration) bool {
	if !o.Succeeded.IsZero() && o.Succeeded.Sub(first) >= amongOthers(o.Interval, grace) {
		return false
	}
	return o.AllRefused || o.RefusedAlike >= refusedMany
}

// amongOthers is for how long the vendor must have gone on to give others a status.
func amongOthers(interval, grace time.Duration) time.Duration { return max(interval, grace/2) }

// Others is what a refusal of an interaction with that HTTP status is compared with.
func (b *Breaker) Others(identifier string, statusCode int) Others {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Others{
		RefusedAlike: b.refusedLike(identifier, statusCode), AllRefused: b.paused && b.cause == Refused,
		Succeeded: b.success, Since: b.watched, Interval: b.longest,
	}
}

// refusedLike is how many interactions were refused with that HTTP status, the one that is named among them.
func (b *Breaker) refusedLike(identifier string, statusCode int) int {
	n := 1
	for other, code := range b.refused {
		if code == statusCode && other != identifier {
			n++
		}
	}
	return n
}

// allRefused takes in a refusal, and tells whether it is a failure of the vendor: it refuses all. Those that it refused
// while it gave others a status are no sign of that.
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

// succeeded takes in a status of the vendor: what it refused until then are single interactions.
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

// quiet tells whether nothing has succeeded for so long that refusals are a failure of the vendor.
func (b *Breaker) quiet(now time.Time) bool {
	if b.success.IsZero() {
		return now.Sub(b.refusedFrom) >= b.shortest
	}
	return now.Sub(b.success) >= b.refusedQuiet
}
