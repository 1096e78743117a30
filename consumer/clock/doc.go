// Package clock measures the broker's clock, by which reservations fall due. The error of a measurement can only make
// polls later.
//
// A measurement reads the time of the leader of a stream. Until the next measurement the clock advances with this
// process's monotonic clock. The next measurement corrects a step of the broker's clock or of the local wall clock.
// After a local step forward a poll may be skipped, because the step looks like a stall.
//
// The broker reads its time between the request and the answer. The clock assumes that it was read at the request. Its
// time is then never behind the broker's, so the error of a measurement makes no reservation fall due too early.
//
// While a machine is suspended, its monotonic clock stops. Afterwards the clock is measured again before a reservation
// depends on it: see [Clock.Sure].
//
// A reservation falls due too early if another server, with a clock that is ahead, becomes the leader, or if the
// leader's clock is set forward. A worker that has measured the clock by which the reservation was made knows by how
// much. Any other worker assumes [Apart]. See [Clock.Early]. There are limits:
//
//   - If a worker knows only one of two servers' clocks, they must not differ by more than that.
//   - A worker that starts after the leader's clock was set forward does not know the size of the step. Polls that
//     were reserved by the clock before the step may be early: those that were reserved before the step, or up to 15 s
//     after it by a worker that had not measured the clock again. Before those that were reserved before its start, the
//     new worker waits for Apart.
//   - If a server's clock is set, and that server becomes or ceases to be the leader, both within 15 s, workers may
//     have measured different clocks of that server, and none in common.
package clock
