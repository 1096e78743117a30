package consumer

import (
	"cmp"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// Mode is the redelivery mode: how an interaction waits for its next poll. The streams and consumers are made for one
// mode. See package redelivery.
type Mode string

// The modes.
const (
	// Schedule: the interaction waits as a reservation, which is a schedule on the broker.
	Schedule Mode = "schedule"
	// Nak: the interaction waits as its declared message, which each worker returns by a nak with a delay. It is for
	// servers without reliable schedules.
	Nak Mode = "nak"
)

// PollStream is the stream whose consumers deliver interactions when their poll is due.
func (m Mode) PollStream(n schema.Namespace) string {
	if m == Nak {
		return n.StreamDeclared()
	}
	return n.StreamPolls()
}

// Streams returns the streams in which interactions wait.
func (m Mode) Streams(n schema.Namespace) []string {
	if m == Nak {
		return []string{n.StreamDeclared()}
	}
	return []string{n.StreamDeclared(), n.StreamPolls()}
}

// Choices are the operator's choices for the streams in which interactions wait.
type Choices struct {
	Mode     Mode
	Replicas int
	// DeclaredMaxMsgs and DeclaredMaxBytes limit the declared messages that wait to be taken in; 0 is no limit. The
	// broker rejects a publish beyond the limit, so nothing is lost.
	DeclaredMaxMsgs  int64
	DeclaredMaxBytes int64
	// PollsMaxBytes and WorkersMaxBytes are the maximum sizes of the polls stream and of the workers' bucket; 0 is no
	// limit. NATS does not let a stream with schedules reject new messages, and would delete the oldest reservations of
	// the polls stream at its limit: the intake stops before, see [redelivery.Room].
	PollsMaxBytes   int64
	WorkersMaxBytes int64
	// MaxAckPending is the MaxAckPending of each lane's consumer; 0 is [DefaultMaxAckPending]. With delayed naks there
	// is no such limit, because waiting messages would count.
	MaxAckPending int
}

const (
	// reserveAckWait is short: a due message is acked as soon as the next poll is reserved.
	reserveAckWait = 10 * time.Second
	// intakeAckWait leaves time to publish a dead letter.
	intakeAckWait = 15 * time.Second
	// DefaultMaxAckPending limits the messages between delivery and ack over all workers, and not those that wait. The
	// intake has no such limit: a message that waits there for a tombstone counts as delivered.
	DefaultMaxAckPending = 5000
)

// Topology returns the streams and consumers that a worker of this configuration requires.
func Topology(cfg Config, c Choices) topology.Set {
	cfg = cfg.withDefaults()
	n := cfg.Namespace
	if c.Mode == Nak {
		return nakTopology(cfg, c)
	}
	polls := jetstream.StreamConfig{
		Name:              n.StreamPolls(),
		Description:       "Reservations of polls, and polls that are due",
		Subjects:          []string{n.SubjectsHold(), n.SubjectsPoll()},
		Retention:         jetstream.WorkQueuePolicy,
		Discard:           jetstream.DiscardOld,
		AllowMsgSchedules: true,
		MaxBytes:          c.PollsMaxBytes,
		Storage:           jetstream.FileStorage,
		Replicas:          max(c.Replicas, 1),
	}
	declared := declaredStream(n, c, "Declared interactions that wait to be taken in", n.SubjectsDeclared())
	s := topology.Set{
		Streams: []jetstream.StreamConfig{declared, polls, workers(n, c)},
		// No filter: a filter of *.* does not match a message that was published on a subject with a literal `>` in it.
		// The intake would never get such a message.
		Consumers: []topology.Consumer{
			consumer(n.StreamDeclared(), n.ConsumerIntake(), "", intakeAckWait, -1),
		},
	}
	for _, t := range schema.Types() {
		s.Consumers = append(s.Consumers, consumer(n.StreamPolls(), n.PollConsumer(t),
			n.PollSubject(t, "*"), reserveAckWait, cmp.Or(c.MaxAckPending, DefaultMaxAckPending)))
		s.Unwanted = append(s.Unwanted, unwanted(n, n.PollConsumer(t)))
	}
	return s
}

// nakTopology is the topology for delayed naks.
func nakTopology(cfg Config, c Choices) topology.Set {
	n := cfg.Namespace
	// There is no intake that could dead-letter a message of an unknown type, so the broker rejects it.
	var subjects []string
	var consumers []topology.Consumer
	for _, t := range schema.Types() {
		subject := n.DeclaredSubject(t, "*")
		subjects = append(subjects, subject)
		consumers = append(consumers, consumer(n.StreamDeclared(), n.PollConsumer(t), subject,
			redelivery.NakAckWait(cfg.Intervals.Of(t), cfg.RequestTimeout), -1))
	}
	declared := declaredStream(n, c, "Declared interactions until their outcome", subjects...)
	return topology.Set{
		Streams:   []jetstream.StreamConfig{declared, workers(n, c)},
		Consumers: consumers,
		Unwanted:  []topology.Consumer{unwanted(n, n.ConsumerIntake())},
	}
}

func declaredStream(n schema.Namespace, c Choices, description string, subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                 n.StreamDeclared(),
		Description:          description,
		Subjects:             subjects,
		Retention:            jetstream.WorkQueuePolicy,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    1,
		// An interaction can be declared again as soon as it has its dead letter, also with the same Nats-Msg-Id.
		Duplicates: topology.MinDuplicates,
		MaxMsgs:    c.DeclaredMaxMsgs,
		MaxBytes:   c.DeclaredMaxBytes,
		Storage:    jetstream.FileStorage,
		Replicas:   max(c.Replicas, 1),
	}
}

// workers is the key-value bucket in which workers announce themselves. It is stored on disk, although its contents
// expire after some seconds: a server that restarts loses a stream in memory.
func workers(n schema.Namespace, c Choices) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              n.StreamWorkers(),
		Description:       "Workers that are alive",
		Subjects:          []string{n.SubjectsWorkers()},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1,
		MaxAge:            schema.AnnouncementMaxAge,
		Duplicates:        schema.AnnouncementMaxAge,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       true,
		MaxBytes:          c.WorkersMaxBytes,
		Storage:           jetstream.FileStorage,
		Replicas:          max(c.Replicas, 1),
	}
}

func consumer(stream, name, filter string, ackWait time.Duration, maxAckPending int) topology.Consumer {
	return topology.Consumer{Stream: stream, Config: jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: filter,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1,
		MaxAckPending: maxAckPending,
	}}
}

// unwanted is a consumer of the declared messages in the other mode.
func unwanted(n schema.Namespace, name string) topology.Consumer {
	return topology.Consumer{Stream: n.StreamDeclared(), Config: jetstream.ConsumerConfig{Durable: name}}
}
