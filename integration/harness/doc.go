// Package harness is what the container tests stand on: NATS servers and clusters in containers that can be killed and
// started again, a proxy that shows each protocol message between a worker and its broker before it passes, worker
// processes, and an oracle that reads what became of every interaction from the outcome stream alone.
//
// A test package that uses it has a TestMain that calls [Main]. No container is left behind when its tests end, not
// even when they time out or are killed.
//
// Waiting is always bounded and always for a condition or an event: see [Eventually].
package harness
