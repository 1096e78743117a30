// Package publisher publishes outcomes, each exactly once.
//
// Every outcome of an interaction is published on the condition that no other outcome of that interaction was stored
// since the last one that the publisher knows (compare-and-set with the broker's Nats-Expected-Last-Subject-Sequence).
// If the broker refuses it, an outcome is already stored: the publisher reads it, and [statusworker/schema/lifecycle]
// decides what is missing. A repeated publish therefore finds the stored outcome, whichever worker repeats it, and
// after any crash. If a worker died between two processed events and the interaction has failed since, the publisher
// makes the second event from the first.
//
// Dead letters of invalid messages are not outcomes of an interaction: an invalid message does not reliably identify
// one, and a corrected message must not be rejected because of it. They are compared only with others on their own
// subject.
package publisher
