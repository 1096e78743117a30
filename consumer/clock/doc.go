// Package clock knows the broker's time, by which reservations fall due, and errs to the safe side about it.
//
// The clock is measured against the time that the leader of a stream gives, and counts on from there by this process's
// monotonic clock, so a step of either wall clock is fixed by the next measurement. A local step forward may leave out
// a poll that was just about to be made: it looks as if the machine had been suspended.
//
// The broker reads its time between the request and the answer. The clock takes it to have been read at the request:
// its idea of the broker's time is then never behind the truth, so a reservation is never made for too early a moment.
//
// While a machine is suspended, its monotonic clock stands still. What is due then makes the clock measure anew before
// anything is reserved by it: see [Clock.Sure].
//
// What was reserved before the broker's clock was stepped forward, or before another server with a clock that is ahead
// took the lead, falls due too soon. A worker that has measured the clock before knows: see [Clock.Early].
package clock
