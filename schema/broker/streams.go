package broker

import "time"

// StreamConfig is a stream as data, as far as its behaviour matters to the rules. What is zero is not limited.
type StreamConfig struct {
	Name     string
	Subjects []string
	// WorkQueue makes an ack remove the message. Otherwise messages stay until a limit removes them.
	WorkQueue bool
	// DiscardNew refuses what does not fit; otherwise the oldest goes. DiscardNewPerSubject does so for each subject,
	// too.
	DiscardNew           bool
	DiscardNewPerSubject bool
	MaxPerSubject        int64
	MaxMsgs              int64
	MaxBytes             int64
	MaxAge               time.Duration
	// Duplicates is for how long the ID of a publication is remembered; 0 is two minutes, or MaxAge where that is
	// shorter.
	Duplicates time.Duration
	// Schedules allows schedules.
	Schedules bool
	// DirectGets lets any replica answer reads, which then need not know the latest.
	DirectGets bool
	// DenyDelete refuses [Broker.Delete].
	DenyDelete bool
	// Rollups lets a message take away all before it, as key-value buckets need to be purged. No operation here does
	// that.
	Rollups bool
	// Memory keeps the stream in memory: a server that stands alone forgets it when it starts again.
	Memory   bool
	Replicas int

	Consumers []ConsumerConfig
}

// ConsumerConfig is a durable pull consumer with explicit acks, which delivers all messages, each as often as it takes.
type ConsumerConfig struct {
	Name string
	// Filter is the subjects that it delivers; empty is all.
	Filter string
	// AckWait is how long after a delivery the message is delivered again.
	AckWait time.Duration
	// MaxAckPending bounds the messages that are out, those that were handed back with a delay among them; -1 is no
	// bound.
	MaxAckPending int
}

// StreamState is the state of a stream.
type StreamState struct {
	Messages, Bytes uint64
	// First and Last are sequences. An empty stream's first is its next.
	First, Last uint64
	// FirstTime is when its first message was stored; zero where there is none.
	FirstTime time.Time
	// Consumers is how many consumers it has, among them those of streams that source it.
	Consumers int
	// DirectGets lets any replica answer reads, which then need not know the latest.
	DirectGets bool
	// Now is the time of the leader that answered.
	Now time.Time
}

// ConsumerState is the state of a consumer.
type ConsumerState struct {
	// Pending messages were never delivered, AckPending ones are out.
	Pending, AckPending uint64
	AckWait             time.Duration
	// PausedUntil is zero where it is not paused.
	PausedUntil time.Time
	// Now is the time of the leader that answered.
	Now time.Time
}
