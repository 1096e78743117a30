// Package fleet is one worker among the others: it announces itself, counts who else is there, and takes its share of
// the rate limit.
//
// A worker announces itself every 3 s in a key-value bucket that forgets an announcement after 10 s. Each time it
// counts the keys that are there, and with a rate limit of polls per second it takes an equal share among them.
//
// All shares together never exceed the rate limit, as far as the broker answers. A share shrinks at once, at the next
// count. It grows late: a worker that joins polls nothing until all others must have counted it, and the share of one
// that died is taken when its announcement has gone, 13 s later at worst. A worker whose announcement had gone joins
// anew. A worker that cannot read the bucket keeps its last share.
//
// A [Limiter] spaces polls evenly within the share. A lane pulls no more than it may poll within a second, or one. What
// was pulled waits for its turn for [Patience] at most, and is handed back otherwise: AckWait never runs out over it.
package fleet
