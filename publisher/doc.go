// Package publisher puts outcomes onto their subjects, each exactly once.
//
// Every outcome of an interaction is published on the condition that nothing was stored for that interaction since the
// outcome before it (compare-and-set by the broker's Nats-Expected-Last-Subject-Sequence). A refusal means that
// something is stored already: it is read, and schema/lifecycle decides what is still missing. So it does not matter
// who publishes an outcome a second time, after whatever crash: a publish that is repeated finds itself. Where a worker
// came to its end between two processed events and the interaction has failed since, the second is published from the
// first.
//
// Dead letters of invalid messages are no outcomes of an interaction: nobody knows which interaction they mean, and a
// declared message that is fixed and published again must get through. They are compared on their own subject only.
package publisher
