package consumer

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
	// reserveMaxAckPending bounds what is between delivery and ack over all workers. It is no bound on what waits.
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
			s.Consumers = append(s.Consumers, consumer(schema.StreamDeclared, schema.PollConsumer(t), schema.DeclaredSubject(t, "*"),
				redelivery.NakAckWait(cfg.Intervals.Of(t), cfg.RequestTimeout), -1))
		}
		s.Unwanted = append(s.Unwanted, topology.Consumer{Stream: schema.StreamDeclared, Config: jetstream.ConsumerConfig{
			Durable: schema.ConsumerIntake, Description: "the streams hold interactions back by reservations; let them run empty, stop the workers and delete it and stream " + schema.StreamPolls + " to change over to naks"}})
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
		Consumers: []topology.Consumer{consumer(schema.StreamDeclared, schema.ConsumerIntake, "", intakeAckWait, reserveMaxAckPending)},
	}
	for _, t := range schema.Types() {
		s.Consumers = append(s.Consumers, consumer(schema.StreamPolls, schema.PollConsumer(t), schema.PollSubject(t, "*"), reserveAckWait, reserveMaxAckPending))
		s.Unwanted = append(s.Unwanted, topology.Consumer{Stream: schema.StreamDeclared, Config: jetstream.ConsumerConfig{
			Durable: schema.PollConsumer(t), Description: "the streams hold interactions back by naks; let them run empty, stop the workers and delete it to change over to reservations"}})
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
		MaxAge:            schema.AnnouncementLife,
		Duplicates:        schema.AnnouncementLife,
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

// ProvisionCommand is the command that makes streams and consumers for workers of this configuration. Those for naks depend
// on intervals and request timeout, which it must therefore be told as the workers are.
func ProvisionCommand(mode Mode, cfg Config) string {
	command := "statusworker provision"
	if mode != Nak {
		return command
	}
	command += " --redelivery nak"
	cfg, usual := cfg.withDefaults(), Config{}.withDefaults()
	for _, t := range schema.Types() {
		if own := cfg.Intervals.Of(t); own != usual.Intervals.Of(t) {
			command += fmt.Sprintf(" --%s-interval %s", t, schema.Duration(own))
		}
	}
	if cfg.RequestTimeout != usual.RequestTimeout {
		command += " --request-timeout " + schema.Duration(cfg.RequestTimeout)
	}
	if slices.ContainsFunc(schema.Types(), func(t schema.Type) bool { return cfg.Intervals.Of(t) < Guidance.Of(t) }) {
		command += " --base-url URL" // of a vendor on this machine, without which it refuses them
	}
	return command
}

// TopologyError says why a worker cannot run on the streams and consumers that there are.
type TopologyError struct {
	// Differences are empty where nothing was provisioned at all.
	Differences []topology.Difference
	Mode        Mode
	// Config is the worker's.
	Config Config
}

// Fix is the command that makes them fit.
func (e *TopologyError) Fix() string {
	command := ProvisionCommand(e.Mode, e.Config)
	if slices.ContainsFunc(e.Differences, func(d topology.Difference) bool { return !d.Missing }) {
		command += " --update"
	}
	return command
}

func (e *TopologyError) Error() string {
	if len(e.Differences) == 0 {
		return "the broker has no streams for statusworker: run `statusworker provision` once, with the rights to create streams"
	}
	lines := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		lines[i] = d.String()
	}
	return fmt.Sprintf("the broker's streams do not fit: %s; `%s` fixes it, and shows with --dry-run what it would do", strings.Join(lines, "; "), e.Fix())
}

// Detect tells which mode the streams and consumers are made for; empty where there are none, or nothing that one of them
// has alone.
func Detect(ctx context.Context, js jetstream.JetStream) (Mode, error) {
	_, err := js.Stream(ctx, schema.StreamPolls)
	if err == nil {
		return Schedule, nil
	}
	if !topology.Absent(err) {
		return "", fmt.Errorf("reading stream %s: %w", schema.StreamPolls, err)
	}
	for _, probe := range []struct {
		mode     Mode
		consumer string
	}{
		{Schedule, schema.ConsumerIntake},
		{Nak, schema.PollConsumer(schema.Audio)},
		{Nak, schema.PollConsumer(schema.Chat)},
		{Nak, schema.PollConsumer(schema.Transcript)},
	} {
		_, err := js.Consumer(ctx, schema.StreamDeclared, probe.consumer)
		if err == nil {
			return probe.mode, nil
		}
		if !topology.Absent(err) {
			return "", fmt.Errorf("reading consumer %s/%s: %w", schema.StreamDeclared, probe.consumer, err)
		}
	}
	declared, err := js.Stream(ctx, schema.StreamDeclared)
	switch {
	case topology.Absent(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading stream %s: %w", schema.StreamDeclared, err)
	case slices.Contains(declared.CachedInfo().Config.Subjects, schema.DeclaredSubject(schema.Audio, "*")):
		return Nak, nil // reservations take all types
	}
	return "", nil
}

// Check finds out the mode, and whether a worker of this configuration can run on what there is. It minds only what
// correctness hangs on: replicas, ages of outcomes and limits are the operator's. The error is a [*TopologyError], or
// says that the broker could not be asked.
func Check(ctx context.Context, js jetstream.JetStream, cfg Config) (Mode, error) {
	mode, err := Detect(ctx, js)
	if err != nil {
		return "", err
	}
	if mode == "" {
		return "", &TopologyError{}
	}
	ds, err := topology.Compare(ctx, js, Topology(cfg, Choices{Mode: mode}))
	if err != nil {
		return "", err
	}
	var bad []topology.Difference
	for _, d := range ds {
		if !d.Choice {
			bad = append(bad, d)
		}
	}
	if len(bad) > 0 {
		return "", &TopologyError{Differences: bad, Mode: mode, Config: cfg}
	}
	return mode, nil
}
