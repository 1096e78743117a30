// Package schema defines what is on the wire: the names of streams, consumers and subjects, declared messages, the
// vendor's answers, and outcomes.
//
// This package and those below it are pure: no I/O, no clock, no logger. This package imports no other package of
// statusworker. Of those below it, [statusworker/schema/broker] defines the operations of the message broker,
// [statusworker/schema/lifecycle] decides what stored messages mean, and [statusworker/schema/topology] describes
// streams and consumers. Only topology imports nats.go, for the types of configurations.
package schema
