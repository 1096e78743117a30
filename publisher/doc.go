// Package publisher publishes outcomes, each exactly once.
//
// Every outcome of an interaction is published on the condition that no other outcome of that interaction was stored
// since the previous one (compare-and-set with the broker's Nats-Expected-Last-Subject-Sequence). If the broker refuses
// it, an outcome is already stored: the publisher reads it, and [statusworker/schema/lifecycle] decides what is
// missing. A repeated publish therefore finds its own result, whichever worker repeats it, and after any crash. If a
// worker ended between two processed events and the interaction has failed since, the second event is made from the
// first.
//
// Dead letters of invalid messages are not outcomes of an interaction: an invalid message does not reliably identify
// one, and a fixed message must not be rejected because of it. They are compared only on their own subject.
package publisher
