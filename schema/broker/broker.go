// Package broker has the vocabulary in which the rules talk to the message broker: what they store and read ([Message],
// [Publication], [Condition], [Schedule], [Delivery]), how an answer can fail ([Error]), and the operations that they
// need ([Broker]). It is pure: no I/O, no clock, and no type of a client library.
//
// It lies under schema, because it is nouns, and because consumer and publisher must share them without importing each
// other. Each of them declares an interface of its own with the few operations of [Broker] that it needs. What does I/O
// lies under cmd, where consumer and publisher cannot depend on it: cmd/broker/adapter speaks nats.go, and
// cmd/broker/fake is a broker in memory for tests. Both implement Broker; cmd/broker/conformance runs one suite over
// them.
//
// A key-value bucket is a stream to which one publishes, and whose subjects one lists: it needs no operation of its
// own. The broker's time comes with the state of a stream, from the stream's leader.
package broker

import (
	"context"
	"time"
)

// Broker is what the rules need of the broker. Every error is an [*Error].
type Broker interface {
	// Publish stores a message, and returns when the broker has acknowledged it. After [ErrNoAnswer] it may be stored
	// all the same, now or later.
	Publish(ctx context.Context, p Publication) (Ack, error)

	// Last reads the last message that a stream has on the subjects, which may have wildcards, from the stream's
	// leader.
	Last(ctx context.Context, stream, subjects string) (Message, error)
	// Get reads the message with that sequence.
	Get(ctx context.Context, stream string, sequence uint64) (Message, error)
	// Next reads the first message on the subjects whose sequence is from or higher.
	Next(ctx context.Context, stream, subjects string, from uint64) (Message, error)
	// Scan calls do for all messages of a range that are stored when it begins, in the order of their sequences. It
	// ends with the error of do, or when the broker fails; then the caller goes on from the sequence after the last
	// one.
	Scan(ctx context.Context, stream string, r Range, do func(Message) error) error
	// Subjects counts the stored messages by subject, on the subjects that the filter matches.
	Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error)
	// Delete deletes one message.
	Delete(ctx context.Context, stream string, sequence uint64) error

	// Stream reads the state of a stream from its leader, and the leader's time.
	Stream(ctx context.Context, stream string) (StreamState, error)
	// Consumer reads the state of a consumer.
	Consumer(ctx context.Context, stream, consumer string) (ConsumerState, error)

	// Puller gives access to the deliveries of a consumer. It asks the broker nothing yet.
	Puller(stream, consumer string) Puller

	// Ack lets a message go, without waiting for the broker: lost, the message is delivered again.
	Ack(d Delivery) error
	// AckConfirmed lets a message go, and returns when the broker has taken note of it. A replicated stream may show
	// the message for a moment longer. After [ErrNoAnswer] nobody knows.
	AckConfirmed(ctx context.Context, d Delivery) error
	// Nak hands a message back: to be delivered again after a delay, or at once where that is 0 or less. Nobody waits
	// for it.
	Nak(d Delivery, delay time.Duration) error
	// InProgress makes the consumer's AckWait begin anew. Nobody waits for it.
	InProgress(d Delivery) error
}

// MaxPull bounds the messages of one pull.
const MaxPull = 256

// Puller asks for deliveries. It belongs to one goroutine.
type Puller interface {
	// Pull asks for n messages, [MaxPull] at most, and hands over each as it comes. It returns when all have come, when
	// the broker has no more (wait 0), or when that time is over. It cannot be given up earlier: what is on its way
	// then would only come back when AckWait runs out.
	Pull(n int, wait time.Duration, take func(Delivery)) error
	// Close ends it. What is on its way comes back when AckWait runs out.
	Close()
}
