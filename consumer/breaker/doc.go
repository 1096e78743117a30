// Package breaker is the circuit breaker that pauses a worker when the vendor fails. It does no I/O except logging: the
// worker reports the result of each poll, and asks who may poll.
//
// # States
//
//	working           enough failures      -> paused
//	paused            the pause ends       -> probing
//	probing           the probe fails      -> paused, for longer
//	paused, probing   the vendor answers   -> working
//
// A working worker polls everything that is due. It pauses after failures of three interactions without an answer (a
// status or a refusal) between them, after three polls in a row with 401 or 403, and at once after a 429. If the cause
// is that the vendor is unavailable, it pauses only if no poll succeeded for 1 s, or if 64 interactions failed: if only
// one type of interaction fails, the successes of the others prevent a pause.
//
// A paused worker pulls no due messages. After the pause, one lane at a time may pull one delivery and poll it: the
// probe. An answer ends the pause, a failure begins the next one.
//
// # Length of a pause
//
// The first pause lasts 1 s. Each following one is twice as long, up to [MaxPause] (5 min), with a jitter of 20 %. A
// pause lasts at most 0.5 s for each interaction that failed, but at least 1 s. A Retry-After of the vendor replaces
// the length. After a 429 or a Retry-After, no success ends the pause before its time.
//
// A probe skips interactions that were polled before, each once per pause, as long as others are due. So even if some
// interactions always fail, the first new one shows that the vendor works, after one pause if at most 64 others are due
// before it.
//
// # A vendor that refuses everything
//
// A 404 is about one interaction, or about all of them (a wrong base URL, an account, a vendor that is being deployed).
// The worker pauses with the cause [Refused] when five interactions were refused with the same HTTP status since the
// last success, and nothing has succeeded for some time. [Breaker.Others] returns the results of the other
// interactions, by which the worker decides whether a single refusal counts.
//
// # Why not a library
//
// sony/gobreaker (v2.4) opens for one fixed time. It supports neither a Retry-After nor pauses that grow, and does not
// notify waiting callers when it half-opens. failsafe-go (v0.9) computes each delay, but the caller must implement the
// growth, its reset and the cause of a pause. Its permits cannot be awaited, and it counts a poll that was sent before
// the pause like a probe. Either library would save a state and a counter; the difficult parts would still be our own
// code. The lengths of the pauses come from cenkalti/backoff (v4).
package breaker
