// Package fleet announces a worker, counts the live workers, and computes the worker's share of the rate limit.
//
// A worker announces itself every 3 s in a key-value bucket in which an announcement expires after 10 s. Each time it
// counts the keys. With a rate limit it takes an equal share among the workers.
//
// The sum of all shares never exceeds the rate limit while the broker answers. A share shrinks at the next count. It
// grows with a delay: a worker that joins does not poll until all others have had time to count it, and the others take
// over the share of a worker that died when its announcement has expired, at most 13 s later. A worker whose
// announcement had expired joins again. A worker that cannot read the bucket keeps its last share.
//
// A [Limiter] spaces polls evenly within the share. A lane pulls as many messages as it may poll within a second, but
// at least one. A delivery waits for its turn for at most [Patience], which is less than AckWait. One that would wait
// longer is returned to the broker.
package fleet
