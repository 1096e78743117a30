package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/cli"
	"statusworker/consumer"
	"statusworker/consumer/redelivery"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// topology returns the topology that the flags describe. Settings without a flag keep the values of existing streams.
func (c provisionCommand) topology(
	ctx context.Context, js jetstream.JetStream, cfg consumer.Config,
) (topology.Set, error) {
	waiting := consumer.Choices{Mode: c.Redelivery, Replicas: 1}
	outcomes := publisher.Choices{Namespace: c.Namespace, MaxAge: publisher.DefaultMaxAge}
	for _, name := range c.Namespace.Streams() {
		stream, err := js.Stream(ctx, name)
		if provisioning.Absent(err) {
			continue
		}
		if err != nil {
			return topology.Set{}, fmt.Errorf("reading stream %s: %w", name, err)
		}
		have := stream.CachedInfo().Config
		waiting.Replicas = max(waiting.Replicas, have.Replicas)
		switch name {
		case c.Namespace.StreamDeclared():
			waiting.DeclaredMaxMsgs, waiting.DeclaredMaxBytes = max(0, have.MaxMsgs), max(0, have.MaxBytes)
		case c.Namespace.StreamPolls():
			waiting.PollsMaxBytes = max(0, have.MaxBytes)
			if err := c.checkPollsSize(stream.CachedInfo()); err != nil {
				return topology.Set{}, err
			}
		case c.Namespace.StreamWorkers():
			waiting.WorkersMaxBytes = max(0, have.MaxBytes)
		case c.Namespace.StreamOutcomes():
			outcomes.MaxAge, outcomes.MaxBytes = have.MaxAge, max(0, have.MaxBytes)
		}
	}
	set := c.set(cfg, waiting, outcomes)
	if err := c.keepAckPending(ctx, js, set); err != nil {
		return topology.Set{}, err
	}
	return set, c.keepAckWaits(ctx, js, set)
}

// checkPollsSize returns an error if the maximum size that is set is smaller than before, and so small that the broker
// would delete reservations, now or when what is stored grows.
func (c provisionCommand) checkPollsSize(polls *jetstream.StreamInfo) error {
	s, have := polls.State, polls.Config.MaxBytes
	minimum := redelivery.MinMaximum(s.Msgs, s.Bytes)
	if c.PollsMaxBytes == nil || *c.PollsMaxBytes == 0 || have > 0 && *c.PollsMaxBytes >= have ||
		*c.PollsMaxBytes >= minimum {
		return nil
	}
	return cli.BadFlag(c, "polls-max-bytes", fmt.Sprint(*c.PollsMaxBytes), fmt.Sprintf(
		"0 (unlimited), or now at least %d: the stream has %d messages, which grow while their interactions are polled",
		minimum, s.Msgs))
}

// set returns the topology of some choices, with those of the flags.
func (c provisionCommand) set(
	cfg consumer.Config, waiting consumer.Choices, outcomes publisher.Choices,
) topology.Set {
	override(&waiting.Replicas, c.Replicas)
	override(&waiting.DeclaredMaxMsgs, c.DeclaredMaxMsgs)
	override(&waiting.DeclaredMaxBytes, c.DeclaredMaxBytes)
	override(&waiting.PollsMaxBytes, c.PollsMaxBytes)
	override(&waiting.WorkersMaxBytes, c.WorkersMaxBytes)
	override(&waiting.MaxAckPending, c.MaxAckPending)
	override(&outcomes.MaxAge, c.MaxAge)
	override(&outcomes.MaxBytes, c.OutcomesMaxBytes)
	outcomes.Replicas = waiting.Replicas
	return consumer.Topology(cfg, waiting).Add(publisher.Topology(outcomes))
}

// keepAckPending keeps the max ack pending of existing consumers, unless a flag sets it. Missing consumers get the
// smallest number of the others.
func (c provisionCommand) keepAckPending(ctx context.Context, js jetstream.JetStream, set topology.Set) error {
	if c.MaxAckPending != nil {
		return nil
	}
	smallest := 0
	var missing []*jetstream.ConsumerConfig
	for i := range set.Consumers {
		expected := &set.Consumers[i]
		if expected.Config.MaxAckPending <= 0 {
			continue
		}
		have, err := js.Consumer(ctx, expected.Stream, expected.Config.Durable)
		if provisioning.Absent(err) {
			missing = append(missing, &expected.Config)
			continue
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", expected.Object(), err)
		}
		n := have.CachedInfo().Config.MaxAckPending
		expected.Config.MaxAckPending = n
		if n > 0 && (smallest == 0 || n < smallest) {
			smallest = n
		}
	}
	for _, cfg := range missing {
		cfg.MaxAckPending = cmp.Or(smallest, cfg.MaxAckPending)
	}
	return nil
}

// keepAckWaits keeps longer ack waits of existing consumers for delayed naks, unless a flag sets the values from which
// they are computed: workers with longer intervals could not run on shorter ack waits.
func (c provisionCommand) keepAckWaits(ctx context.Context, js jetstream.JetStream, set topology.Set) error {
	if c.Redelivery != consumer.Nak || c.given("request-timeout") {
		return nil
	}
	for _, t := range schema.Types() {
		if c.given(string(t) + "-interval") {
			continue
		}
		ofType := func(one topology.Consumer) bool { return one.Config.Durable == c.Namespace.PollConsumer(t) }
		expected := &set.Consumers[slices.IndexFunc(set.Consumers, ofType)]
		have, err := js.Consumer(ctx, expected.Stream, expected.Config.Durable)
		if provisioning.Absent(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading consumer %s/%s: %w", expected.Stream, expected.Config.Durable, err)
		}
		expected.Config.AckWait = max(expected.Config.AckWait, have.CachedInfo().Config.AckWait)
	}
	return nil
}

// override sets a value from a flag, if the flag is set.
func override[T any](value *T, flag *T) {
	if flag != nil {
		*value = *flag
	}
}
