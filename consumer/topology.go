package consumer

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// Mode is a way of holding interactions back.
type Mode string

// The modes.
const (
	Schedule Mode = "schedule"
	Nak      Mode = "nak"
)

// PollStream is the stream out of which interactions are delivered when their poll is due.
func (m Mode) PollStream() string {
	if m == Nak {
		return schema.StreamDeclared
	}
	return schema.StreamPolls
}

// Streams are those in which interactions wait.
func (m Mode) Streams() []string {
	if m == Nak {
		return []string{schema.StreamDeclared}
	}
	return []string{schema.StreamDeclared, schema.StreamPolls}
}

// Choices are what an operator may choose about the streams that interactions wait in.
type Choices struct {
	Mode     Mode
	Replicas int
	// DeclaredMaxMsgs and DeclaredMaxBytes bound the declared messages that wait to be taken in (0: no bound). A
	// publish beyond them is refused, so nothing is lost.
	DeclaredMaxMsgs  int64
	DeclaredMaxBytes int64
}

const (
	// reserveAckWait is short: a due message is acked as soon as the next poll is reserved.
	reserveAckWait = 10 * time.Second
	// intakeAckWait allows for a dead letter that takes a while to be published.
	intakeAckWait = 15 * time.Second
	// reserveMaxAckPending bounds what is between delivery and ack over all workers. It is no bound on what waits. The
	// intake has no such bound: what waits there for a tombstone counts as delivered.
	reserveMaxAckPending = 5000
)

// Topology is the streams and consumers as they should be for a worker of this configuration.
func Topology(cfg Config, c Choices) topology.Set {
	cfg = cfg.withDefaults()
	declared := jetstream.StreamConfig{
		Name:                 schema.StreamDeclared,
		Description:          "Declared interactions that wait to be taken in",
		Subjects:             []string{schema.SubjectsDeclared},
		Retention:            jetstream.WorkQueuePolicy,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    1,
		// An interaction may be declared again as soon as it has its dead letter, also with the same Nats-Msg-Id.
		Duplicates: topology.MinDuplicates,
		MaxMsgs:    c.DeclaredMaxMsgs,
		MaxBytes:   c.DeclaredMaxBytes,
		Storage:    jetstream.FileStorage,
		Replicas:   max(c.Replicas, 1),
	}
	if c.Mode == Nak {
		declared.Description = "Declared interactions until their outcome"
		// Without an intake nobody would be given a message of an unknown type: the broker refuses it.
		declared.Subjects = nil
		for _, t := range schema.Types() {
			declared.Subjects = append(declared.Subjects, schema.DeclaredSubject(t, "*"))
		}
		s := topology.Set{Streams: []jetstream.StreamConfig{declared, workers(c)}}
		for _, t := range schema.Types() {
			s.Consumers = append(
				s.Consumers,
				consumer(schema.StreamDeclared, schema.PollConsumer(t), schema.DeclaredSubject(t, "*"),
					redelivery.NakAckWait(cfg.Intervals.Of(t), cfg.RequestTimeout), -1),
			)
		}
		s.Unwanted = append(s.Unwanted, unwanted(schema.ConsumerIntake))
		return s
	}
	polls := jetstream.StreamConfig{
		Name:              schema.StreamPolls,
		Description:       "Reservations of polls, and polls that are due",
		Subjects:          []string{schema.SubjectsHold, schema.SubjectsPoll},
		Retention:         jetstream.WorkQueuePolicy,
		Discard:           jetstream.DiscardOld,
		AllowMsgSchedules: true,
		Storage:           jetstream.FileStorage,
		Replicas:          max(c.Replicas, 1),
	}
	s := topology.Set{
		Streams: []jetstream.StreamConfig{declared, polls, workers(c)},
		// No filter: a filter of *.* does not match a message that was published on a subject with a literal `>` in it,
		// and what the intake is not given would wait for good.
		Consumers: []topology.Consumer{
			consumer(schema.StreamDeclared, schema.ConsumerIntake, "", intakeAckWait, -1),
		},
	}
	for _, t := range schema.Types() {
		s.Consumers = append(
			s.Consumers,
			consumer(
				schema.StreamPolls,
				schema.PollConsumer(t),
				schema.PollSubject(t, "*"),
				reserveAckWait,
				reserveMaxAckPending,
			),
		)
		s.Unwanted = append(s.Unwanted, unwanted(schema.PollConsumer(t)))
	}
	return s
}

// workers is the bucket in which workers announce themselves: a key-value bucket like any other. What is in it is worth
// nothing after some seconds, but a server forgets a stream in memory altogether when it starts again.
func workers(c Choices) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              schema.StreamWorkers,
		Description:       "Workers that are alive",
		Subjects:          []string{schema.SubjectsWorkers},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1,
		MaxAge:            schema.AnnouncementMaxAge,
		Duplicates:        schema.AnnouncementMaxAge,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       true,
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

// unwanted is a consumer of declared messages that belongs to the other mode.
func unwanted(name string) topology.Consumer {
	return topology.Consumer{Stream: schema.StreamDeclared, Config: jetstream.ConsumerConfig{Durable: name}}
}
