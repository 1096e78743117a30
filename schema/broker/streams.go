package broker

import "time"

// StreamConfig is a stream's configuration as data, as far as consumer and publisher depend on it. A limit of 0 is no
// limit.
type StreamConfig struct {
	Name     string
	Subjects []string
	// WorkQueue makes the broker delete a message when it is acknowledged. Otherwise only limits delete messages.
	WorkQueue bool
	// DiscardNew makes the broker reject new messages at a limit; otherwise it deletes the oldest. DiscardNewPerSubject
	// does the same for the limit of each subject.
	DiscardNew           bool
	DiscardNewPerSubject bool
	MaxPerSubject        int64
	MaxMsgs              int64
	MaxBytes             int64
	MaxAge               time.Duration
	// Duplicates is the duplicate window; 0 is two minutes, or MaxAge if that is shorter.
	Duplicates time.Duration
	// Schedules allows schedules.
	Schedules bool
	// AtomicBatches allows [Broker.PublishAll].
	AtomicBatches bool
	// DirectGets lets any replica answer reads. Such an answer may be stale.
	DirectGets bool
	// DenyDelete makes the broker reject [Broker.Delete].
	DenyDelete bool
	// Rollups allows messages that replace all earlier ones, which purges of key-value buckets use. No operation of
	// [Broker] publishes such a message.
	Rollups bool
	// Memory keeps the stream in memory: a single server loses it when it restarts.
	Memory   bool
	Replicas int

	Consumers []ConsumerConfig
}

// ConsumerConfig is the configuration of a durable pull consumer with explicit acknowledgements, which delivers all
// messages.
type ConsumerConfig struct {
	Name string
	// Filter is the subject filter; empty is all messages.
	Filter string
	// AckWait is the time after which an unsettled message is redelivered.
	AckWait time.Duration
	// MaxAckPending limits the messages that are in flight, including those with a delayed nak; -1 is no limit, and 0
	// is the server's default of 1000.
	MaxAckPending int
	// MaxDeliver limits how often a message is delivered; 0 is no limit.
	MaxDeliver int
}

// StreamState is the state of a stream.
type StreamState struct {
	Messages, Bytes uint64
	// First and Last are sequences. First of an empty stream is the sequence of the next message.
	First, Last uint64
	// MaxBytes is the maximum size; 0 is no limit.
	MaxBytes int64
	// FirstTime is when the first message was stored; zero if the stream is empty.
	FirstTime time.Time
	// Consumers is the number of consumers, including those of streams that source this one.
	Consumers int
	// DirectGets lets any replica answer reads. Such an answer may be stale.
	DirectGets bool
	// AtomicBatches allows [Broker.PublishAll].
	AtomicBatches bool
	// Now is the time of the leader that answered, and Leader its name; empty if it is not in a cluster.
	Now    time.Time
	Leader string
}

// ConsumerState is the state of a consumer.
type ConsumerState struct {
	// Pending is the number of messages that were never delivered, AckPending of those that are in flight.
	Pending, AckPending uint64
	// Delivered is the sequence of the last message that was delivered for the first time; 0 before that. The consumer
	// counts all messages up to AckFloor as acknowledged.
	Delivered, AckFloor uint64
	AckWait             time.Duration
	// PausedUntil is zero if the consumer is not paused.
	PausedUntil time.Time
	// Now is the time of the leader that answered.
	Now time.Time
}

// CountsAsAcked reports whether the consumer counts the message with this sequence as acknowledged, and therefore does
// not deliver it. Such a message can be stored after a restore, after a full disk, or if a single server was killed
// after it had recorded the acknowledgement and before it removed the message.
func (s ConsumerState) CountsAsAcked(sequence uint64) bool {
	return sequence <= s.AckFloor || s.AckPending == 0 && sequence <= s.Delivered
}
