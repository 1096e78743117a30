// Package clock measures the broker's clock, by which reservations fall due. Its error is always to the safe side.
//
// A measurement reads the time of the leader of a stream. From there the clock continues by this process's monotonic
// clock, so the next measurement corrects a step of either wall clock. After a local step forward a poll may be
// skipped: the step looks like a suspended machine.
//
// The broker reads its time between the request and the answer. The clock assumes that it was read at the request. It
// is then never behind the true time, so a reservation never falls due too early.
//
// While a machine is suspended, its monotonic clock stops. Afterwards the clock is measured again before a reservation
// depends on it: see [Clock.Sure].
//
// A reservation falls due too early if the broker's clock is stepped forward after it was stored, or if another server,
// with a clock that is ahead, becomes the leader. A worker that has measured the clock before detects it: see
// [Clock.Early].
package clock
