// Package simulator implements the vendor's API on a listener in the same process, for tests, demos and benchmarks.
// Scripts define the statuses of interactions and the faults of requests. The simulator records every poll with the
// time at which it arrived. It does not depend on the client.
package simulator
