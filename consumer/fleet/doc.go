// Package fleet announces a worker, counts the live workers, and computes the worker's share of the rate limit.
//
// A worker announces itself every 3 s in a key-value bucket in which an announcement expires after 10 s. Each time it
// counts the keys. With a rate limit it takes an equal share among the workers.
//
// The sum of all shares never exceeds the rate limit while the broker answers. A share shrinks at the next count. It
// grows late: a worker that joins does not poll until all others must have counted it, and the share of a worker that
// died is taken when its announcement has expired, at most 13 s later. A worker whose announcement had expired joins
// again. A worker that cannot read the bucket keeps its last share.
//
// A [Limiter] spaces polls evenly within the share. A lane pulls at most what it may poll within a second, or one. A
// delivery waits for its turn for at most [Patience], which is less than AckWait. Otherwise it is returned to the
// broker.
package fleet
