// Package explore runs the real worker, publisher and dead-letter queue over the in-memory broker and the simulated
// vendor, in a [testing/synctest] bubble, and decides what happens at each of their operations. It has only tests.
//
// # A history
//
// Each worker has a port to the broker (its implementation of the broker's interface) and a status client of its own.
// Both stop at a gate: the goroutine that makes an operation blocks there. When every goroutine is blocked, the
// explorer, which is one goroutine, chooses: it lets one operation happen, with its fate (success or a fault), or makes
// an event happen, or lets time pass until something can happen. One operation happens at a time, so the choices
// determine the history. Choices are made
//
//   - at random, by a seed, or by priorities that change at random places (PCT): TestHistories;
//   - all of them in turn, in a small world: TestExhaustive;
//   - by a plan, the list of the choices of an earlier history that differ from the default: TestPlan. By default
//     operations succeed, in the order of their arrival.
//
// A history that breaks an invariant is shrunk (delta debugging: parts of its plan are left out while it still fails),
// and printed with its plan.
//
// # The oracle
//
// It reads only the log of the vendor, what the broker's streams store and remove, and whether a message that was
// pulled waits in its worker. Its comment lists the invariants. At the end of a history the faults stop, a new worker
// starts, and everything must end, or be polled again in time. Program integration/mutants shows what the oracle sees
// if a defence is missing.
//
// # Limits
//
//   - A worker that is stopped (SIGSTOP) stops at its next operation, and not between two instructions. In particular,
//     it does not stop between the last check of the clock and the write of the request.
//   - Timers that fire at the same instant fire in an order that the runtime draws. A seed or a plan may take several
//     runs to repeat a history in which lanes compete for a probe.
//   - The broker is a fake in one process. At each moment it has one clock, which a change of leader may set forward.
//     Histories contain only what the fake does.
package explore
