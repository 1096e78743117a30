// Package dlq is for operators: it reads dead letters, explains them, declares their interactions again, and deletes
// them. Dead letters are read as a stream, so memory does not grow with their number.
//
// # Replay
//
// To replay a dead letter is to publish its declared message again and then to delete the dead letter. Whoever is
// interrupted between the two must be able to do it again, and two operators may do it at once. So before anything is
// published, the dead-letter queue looks for a newer generation of the interaction, in the order in which an
// interaction moves, each time at the stream's leader:
//
//	INTERACTIONS_DECLARED   a declared message that was stored after the dead letter
//	INTERACTIONS_POLLS      a reservation or a due message of a later generation
//	INTERACTIONS_OUTCOMES   an outcome of a later generation, or a processed event
//
// An interaction is stored in the next place before it leaves the one before, so it cannot slip past a look in this
// order. A newer generation means that the dead letter was replayed before, or that its interaction was declared again:
// it is deleted, and nothing is published. The last look tells also whether the dead letter is still there: who deleted
// it has replayed it.
//
// A publish that comes between another's look and publish is made up for by the broker and the intake: while the first
// message waits, a second one on its subject is refused; once it is taken in, a second one meets its reservation and is
// dropped. That holds for one guidance at least, so what was seen is believed for no longer than believedFor, and the
// connection must not keep publishes for later (in nats.go, ReconnectBufSize(-1)). An invalid message meets no
// reservation: two replays within that time can make two dead letters of it. Nothing rests on the stream's duplicate
// window.
//
// The generation that ended in the dead letter may still be pending: an outcome is stored before the reservation
// becomes a tombstone, and a worker can die between. Then one more poll is made, which must find the dead letter. The
// dead-letter queue waits for that, and leaves the dead letter where it takes too long.
//
// The declared message names the generation that it replays (schema.HeaderReplays), so that the intake does not take
// what is left of that generation for a second chain.
package dlq
