// Package broker defines how consumer and publisher talk to the message broker: the messages that they store and read
// ([Message], [Publication], [Condition], [Schedule], [Delivery]), the errors that they get ([Error]), and the
// operations that they need ([Broker]). It does no I/O, and uses no clock and no type of a client library.
//
// Consumer and publisher share these types without importing each other. Each declares its own interface with the few
// operations of [Broker] that it uses. The implementations are under cmd: cmd/broker/adapter uses nats.go, and
// cmd/broker/fake is an in-memory broker for tests. The suite of cmd/broker/conformance runs against both.
//
// A key-value bucket has no operations of its own: publish to its stream to put a value, and list the stream's subjects
// to list the keys. The broker's time is part of the state of a stream and comes from the stream's leader.
package broker

import (
	"context"
	"time"
)

// Broker is the operations of the message broker that consumer and publisher use. Every error is an [*Error].
type Broker interface {
	// Publish stores a message. It returns when the broker has acknowledged it. After [ErrNoAnswer] the message may
	// be stored, or may be stored later.
	Publish(ctx context.Context, p Publication) (Ack, error)
	// PublishAll stores messages of one stream together: all of them or none. At most the first has a condition, which
	// is evaluated before any of them is stored, and none has a schedule. It returns the sequence of the last message.
	// After [ErrNoAnswer] all may be stored or none, or all may be stored later. The stream must allow atomic batches
	// ([StreamState]); otherwise, and if a limit of the broker excludes the batch, the error is [ErrUnsupported].
	PublishAll(ctx context.Context, all []Publication) (Ack, error)

	// Last reads the last message of a stream on the subjects, which may have wildcards, from the stream's leader.
	Last(ctx context.Context, stream, subjects string) (Message, error)
	// Get reads the message with the sequence.
	Get(ctx context.Context, stream string, sequence uint64) (Message, error)
	// Next reads the first message on the subjects whose sequence is at least from.
	Next(ctx context.Context, stream, subjects string, from uint64) (Message, error)
	// Scan calls do for each message of a range that is stored when Scan begins, in the order of sequences. It stops
	// at the first error, of do or of the broker, and returns it. To continue, call it again from the sequence after
	// the last message.
	Scan(ctx context.Context, stream string, r Range, do func(Message) error) error
	// Count returns the number of stored messages in a range.
	Count(ctx context.Context, stream string, r Range) (uint64, error)
	// Subjects returns the number of stored messages for each subject that matches the filter.
	Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error)
	// Delete deletes one message.
	Delete(ctx context.Context, stream string, sequence uint64) error

	// Stream reads the state of a stream, and the time, from the stream's leader.
	Stream(ctx context.Context, stream string) (StreamState, error)
	// Consumer reads the state of a consumer.
	Consumer(ctx context.Context, stream, consumer string) (ConsumerState, error)

	// Puller returns a puller for a consumer. It sends no request.
	Puller(stream, consumer string) Puller

	// Ack acknowledges a message without waiting for the broker. If the acknowledgement is lost, the message is
	// redelivered.
	Ack(d Delivery) error
	// AckConfirmed acknowledges a message. It returns when the broker has confirmed the acknowledgement. A replicated
	// stream may show the message for a moment longer. After [ErrNoAnswer] the message may be acknowledged or not.
	AckConfirmed(ctx context.Context, d Delivery) error
	// Nak asks for redelivery of a message after a delay, or at once if the delay is 0 or less. It does not wait for
	// the broker.
	Nak(d Delivery, delay time.Duration) error
	// InProgress restarts the consumer's AckWait for a message. It does not wait for the broker.
	InProgress(d Delivery) error

	// Claim makes a delivery of a stored message that its consumer does not deliver, because the consumer counts the
	// message as acknowledged ([ConsumerState.CountsAsAcked]). The delivery's Count is 2, because the message was
	// delivered before. Claim sends nothing. An Ack of the delivery deletes the message; Nak and InProgress have no
	// effect.
	Claim(stream, consumer string, m Message) Delivery
}

// MaxPull is the maximum number of messages of one pull.
const MaxPull = 256

// Puller pulls messages from a consumer. Use it from one goroutine.
type Puller interface {
	// Pull requests n messages, 1 to [MaxPull], and calls take with each message as it arrives. It returns when n
	// messages have arrived, when the broker has no more messages (if wait is 0), or after wait. It cannot be canceled:
	// messages in flight would be redelivered only after AckWait.
	//
	// The error is an [*Error]. It is [ErrNoAnswer] if the broker is not available, or has not ended the request a
	// second after wait; it has no kind if n is out of range. The messages with which take was called before an error
	// are valid deliveries.
	Pull(n int, wait time.Duration, take func(Delivery)) error
	// Close releases the puller. Messages in flight are redelivered after AckWait.
	Close()
}
