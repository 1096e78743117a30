// Package dlq implements the operators' commands for dead letters: it reads them, declares their interactions again,
// and deletes them. It reads dead letters one after another, so that memory does not grow with their number.
//
// # Replay
//
// A replay publishes the declared message of a dead letter again, and then deletes the dead letter. It can be repeated
// after an interruption between the two, and two operators can do it at the same time. Therefore, before it publishes,
// it searches for a newer generation of the interaction. It reads from the leaders of the streams, in the order in
// which an interaction passes through them:
//
//	INTERACTIONS_DECLARED   a declared message that was stored after the dead letter
//	INTERACTIONS_POLLS      a reservation or a due message of a later generation
//	INTERACTIONS_OUTCOMES   an outcome of a later generation, or a processed event
//
// An interaction is stored in the next stream before it is deleted from the previous one, so this order cannot miss it.
// A newer generation means that the dead letter was replayed before, or that its interaction was declared again. Then
// the dead letter is deleted without a publish. The last read also shows whether the dead letter still exists: if
// another replay deleted it, that replay has published its declared message.
//
// Two replays may both publish after their reads. The second message has no effect: while the first one waits, the
// broker rejects a second one on its subject; after it is taken in, the intake drops a second one because of the first
// one's reservation. The reservation exists for at least one poll interval. A replay therefore publishes within 2 s
// after its reads, or reads again. For the same reason, the connection must not buffer publishes while it reconnects
// (in nats.go, ReconnectBufSize(-1)). An invalid message has no reservation: two replays within that time can make two
// dead letters of it. A replay does not depend on the stream's duplicate window.
//
// The generation that ended in the dead letter may still be pending: its outcome is stored before the reservation
// becomes a tombstone, and the worker may die in between. Then a worker makes one more poll, which must find the dead
// letter. A replay waits for that poll, and leaves the dead letter unchanged if it takes too long.
//
// So does a purge: the last poll of a generation whose dead letter is deleted stores it again.
//
// The published message names the generation that it replays (schema.HeaderReplays), so that the intake does not drop
// it because of pending messages of that generation.
package dlq
