// Package publisher puts outcomes onto their subjects, each exactly once.
//
// Every outcome of an interaction is published on the condition that nothing was stored for that interaction since the
// outcome before it (compare-and-set by the broker's Nats-Expected-Last-Subject-Sequence). A refusal means that
// something is stored already: it is read, and reconcile decides what is still missing. So it does not matter who
// publishes an outcome a second time, after whatever crash: a publish that is repeated finds itself. Where a worker came
// to its end between two processed events and the interaction has failed since, the second is published from the first.
//
// An interaction that was declared again has a life of its own, told apart by when its declared message was stored. A
// new life may replace a dead letter of an older one by a new outcome (that is what declaring again after a failure is
// for); results that were handed on once are not handed on again.
//
// Dead letters of invalid messages are no outcomes of an interaction: nobody knows which interaction they mean, and a
// declared message that is mended and published again must get through. They are compared on their own subject only.
package publisher
