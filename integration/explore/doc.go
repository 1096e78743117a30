// Package explore runs the real worker, publisher and dead-letter queue over the in-memory broker and the simulated
// vendor, in a [testing/synctest] bubble, and decides what happens at each of their operations.
//
// # How a history runs
//
// Each worker has a port to the broker and a client of the vendor of its own. Both stop at a gate: the goroutine that
// makes an operation blocks there. When every goroutine is blocked, the explorer, which is one goroutine, chooses: it
// lets one operation happen, with its [Fate], it makes an [Event] happen, or it lets time pass until something else can
// happen. One operation happens at a time, so the choices determine the history.
//
// Choices come from a [chooser]: random (by seed), random with priorities ([PCT]), all of them in turn (exhaustive), or
// a [Plan], the list of choices of an earlier history that differ from the default. By default operations succeed in
// the order in which they arrive.
//
// # What is checked
//
// The [oracle] reads only the log of the vendor and the changes of the broker's streams. See its checks.
//
// # What a gate cannot stop
//
// A worker that is stopped (SIGSTOP) stops at its next operation, not between two instructions. In particular, it does
// not stop between the status client's last check of the clock and the write of the request.
package explore
