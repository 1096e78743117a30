// Package publisher publishes outcomes, each exactly once.
//
// Every outcome of an interaction is published on the condition that no other outcome of that interaction was stored
// since the last one that the publisher knows (compare-and-set with the broker's Nats-Expected-Last-Subject-Sequence).
// If the broker rejects it, an outcome may be stored already: the publisher reads the stored outcomes, and
// [statusworker/schema/lifecycle] decides what is missing. A repeated publish therefore finds the stored outcome,
// whichever worker repeats it, and after any crash.
//
// The processed events of an interaction are one atomic batch, on the condition of the first: the broker stores all of
// them or none. On a stream without atomic batches (see [Topology]) they are single publishes, and a worker may die
// between two of them. If the interaction has failed since, the publisher makes the second event from the first.
//
// Dead letters of invalid messages are not outcomes of an interaction: an invalid message does not reliably identify
// one, and a corrected message must not be rejected because of it. They are compared only with others on their own
// subject.
package publisher
