// Package clock measures the broker's clock, by which reservations fall due. The error of a measurement can only make
// polls later.
//
// A measurement reads the time of the leader of a stream. Until the next measurement the clock advances with this
// process's monotonic clock. That measurement corrects a step of the broker's clock or of the local wall clock. After a
// local step forward a poll may be skipped, because the step looks like a suspended machine.
//
// The broker reads its time between the request and the answer. The clock assumes that it was read at the request. Its
// time is then never behind the broker's, so a reservation never falls due too early.
//
// While a machine is suspended, its monotonic clock stops. Afterwards the clock is measured again before a reservation
// depends on it: see [Clock.Sure].
//
// A reservation falls due too early if the broker's clock is stepped forward after it was stored, or if another server,
// with a clock that is ahead, becomes the leader. A worker that has measured the clock before detects it: see
// [Clock.Early].
package clock
