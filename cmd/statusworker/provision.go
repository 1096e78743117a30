package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/flags"
	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/topology"
)

type provisionCommand struct {
	Redelivery       consumer.Mode  `name:"redelivery" var:"STATUSWORKER_REDELIVERY" default:"auto" enum:"auto, schedule, nak" help:"How interactions wait between polls: schedule requires nats-server ${min_servers}; nak is for servers before ${min_server_212}, and for 2.13. auto keeps the current mode; new deployments use schedule."`
	Replicas         *int           `name:"replicas" var:"STATUSWORKER_REPLICAS" placeholder:"N" help:"Number of replicas of each stream: 1, 3 or 5; use 3 in production. Unset keeps the current number; new streams get 1."`
	MaxAge           *time.Duration `name:"max-age" var:"STATUSWORKER_MAX_AGE" placeholder:"DURATION" help:"How long outcomes are kept, at least 1h. Unset keeps the current age; a new stream gets 14 days."`
	OutcomesMaxBytes *int64         `name:"outcomes-max-bytes" var:"STATUSWORKER_OUTCOMES_MAX_BYTES" placeholder:"N" help:"Maximum size of the outcomes stream in bytes; the oldest outcomes are discarded first. 0 is unlimited. Unset keeps the current limit."`
	DeclaredMaxMsgs  *int64         `name:"declared-max-msgs" var:"STATUSWORKER_DECLARED_MAX_MSGS" placeholder:"N" help:"Maximum number of messages in the stream of declared messages. At the limit, NATS rejects more declared messages, and producers must publish them again later. 0 is unlimited. Unset keeps the current limit."`
	DeclaredMaxBytes *int64         `name:"declared-max-bytes" var:"STATUSWORKER_DECLARED_MAX_BYTES" placeholder:"N" help:"Maximum size of the stream of declared messages in bytes. At the limit, NATS rejects more declared messages, and producers must publish them again later. 0 is unlimited. Unset keeps the current limit."`
	PollsMaxBytes    *int64         `name:"polls-max-bytes" var:"STATUSWORKER_POLLS_MAX_BYTES" placeholder:"N" help:"Maximum size of the stream of reservations in bytes, at least ${min_polls_bytes}. Only for accounts that require one. Without room for another interaction, workers take in no declared message; docs/deploy.md has the size that a number of interactions needs. 0 is unlimited. Unset keeps the current limit."`
	WorkersMaxBytes  *int64         `name:"workers-max-bytes" var:"STATUSWORKER_WORKERS_MAX_BYTES" placeholder:"N" help:"Maximum size of the bucket of the workers in bytes. At the limit, more workers cannot announce themselves. 0 is unlimited. Unset keeps the current limit."`
	MaxAckPending    *int           `name:"max-ack-pending" var:"STATUSWORKER_MAX_ACK_PENDING" placeholder:"N" help:"Maximum number of due messages of one type that all workers together have not yet acknowledged (max ack pending of the NATS consumers). Only for redelivery schedule. Unset keeps the current number; new consumers get ${max_ack_pending}."`
	DryRun           bool           `name:"dry-run" help:"Change nothing: only report what differs, and exit with 1 if anything does."`
	Update           bool           `name:"update" help:"Also change existing streams and consumers that differ; recreate consumers where NATS cannot change them."`
	Output           string         `name:"output" short:"o" default:"text" enum:"text, json, nack" help:"What to do: text creates and compares the streams and consumers in NATS. json and nack print what the other flags describe, and do not connect to NATS: json for nats stream add --config and nats consumer add --config, nack as custom resources for NACK on Kubernetes. With these two, unset flags have their defaults."`
	OutputDir        string         `name:"output-dir" placeholder:"DIRECTORY" help:"With --output json or nack: write each stream and consumer to a file of its own in this directory, and print the commands that apply the files."`
	Timeout          time.Duration  `name:"timeout" default:"60s" help:"How long to wait for each answer from NATS."`

	connect.Flags `embed:"" group:"NATS"`
	flags.Stage   `embed:"" group:"NATS"`
	flags.Base    `embed:"" group:"ElevateAI"`
	flags.Timing  `embed:"" group:"Timing"`
	cli.LogFlags  `embed:"" group:"Log"`

	given func(flag string) bool
}

// Run creates and updates streams and consumers, or shows what differs.
func (c provisionCommand) Run(ctx context.Context, p cli.Process, k *kong.Context) error {
	c.given = func(flag string) bool {
		onCommandLine := func(at *kong.Path) bool { return at.Flag != nil && at.Flag.Name == flag }
		return p.Getenv(cli.Variable(c, flag)) != "" || slices.ContainsFunc(k.Path, onCommandLine)
	}
	log, err := c.Logger(p)
	if err != nil {
		return err
	}
	cfg, err := c.config(log)
	if err != nil {
		return err
	}
	if err := c.checkOutput(); err != nil {
		return err
	}
	if c.Output != outputText {
		return c.write(p, cfg)
	}
	// Longer than for other commands, because the broker may be starting at the same time.
	wait := connect.Wait{Timeout: c.Timeout}
	bounded, cancel, err := wait.Bound(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	err = c.provision(bounded, p, log, cfg)
	return wait.Unanswered(bounded,
		unfinished(ctx, err, "not everything is provisioned; run the command again to continue"))
}

func (c provisionCommand) provision(
	ctx context.Context, p cli.Process, log logrus.FieldLogger, cfg consumer.Config,
) error {
	nc, err := c.Connect(ctx, clientName(), log)
	if err != nil {
		return err
	}
	defer connect.Close(nc)
	js, err := c.JetStream(nc)
	if err != nil {
		return err
	}
	if c.Redelivery == currentMode {
		err := connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) (err error) {
			c.Redelivery, err = provisioning.Detect(ctx, js, c.Namespace)
			return err
		})
		if err != nil {
			return err
		}
		if c.Redelivery == "" {
			c.Redelivery = consumer.Schedule
		}
	}
	if err := c.checkMode(); err != nil {
		return err
	}
	if err := c.checkServer(nc.ConnectedServerVersion(), log); err != nil {
		return err
	}
	var set topology.Set
	err = connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) (err error) {
		set, err = c.topology(ctx, js, cfg)
		return err
	})
	if err != nil {
		return err
	}
	return c.apply(ctx, js, p, log, set)
}

// checkMode rejects flags that the redelivery mode has no use for.
func (c provisionCommand) checkMode() error {
	const allowed = "unset with redelivery nak: "
	switch {
	case c.Redelivery != consumer.Nak:
		return nil
	case c.PollsMaxBytes != nil:
		return cli.BadFlag(c, "polls-max-bytes", fmt.Sprint(*c.PollsMaxBytes), allowed+"there is no such stream")
	case c.MaxAckPending != nil:
		return cli.BadFlag(c, "max-ack-pending", fmt.Sprint(*c.MaxAckPending),
			allowed+"interactions that wait would count, and the others would not be polled")
	}
	return nil
}

// checkServer rejects a server version that cannot serve the streams safely, and logs other known faults of the
// version.
func (c provisionCommand) checkServer(version string, log logrus.FieldLogger) error {
	streams := func(m consumer.Mode) []jetstream.StreamConfig {
		return consumer.Topology(consumer.Config{Namespace: c.Namespace}, consumer.Choices{Mode: m}).Streams
	}
	err := topology.CheckServer(version, streams(c.Redelivery))
	switch {
	case err != nil && topology.CheckServer(version, streams(consumer.Nak)) == nil:
		return fmt.Errorf("%w; or use --redelivery nak", err)
	case err != nil:
		return err
	}
	for _, f := range topology.ServerFaults(version, streams(c.Redelivery)) {
		log.WithFields(logrus.Fields{"version": version, "fault": f.What, "fixed_in": f.Fixed, "advice": f.Do}).
			Warn("nats-server version has a known fault")
	}
	return nil
}

// currentMode keeps the mode of existing streams.
const currentMode consumer.Mode = "auto"

// config checks the flags.
func (c provisionCommand) config(log logrus.FieldLogger) (consumer.Config, error) {
	intervals, err := c.Intervals(c.Base)
	if err != nil {
		return consumer.Config{}, err
	}
	switch {
	case c.Replicas != nil && *c.Replicas != 1 && *c.Replicas != 3 && *c.Replicas != 5:
		return consumer.Config{}, cli.BadFlag(c, "replicas", fmt.Sprint(*c.Replicas), "1, 3 or 5")
	case c.MaxAge != nil && *c.MaxAge < time.Hour:
		return consumer.Config{}, cli.BadFlag(c, "max-age", schema.Duration(*c.MaxAge),
			"at least 1h: workers read outcomes to find that an interaction has ended")
	}
	oneMessage := fmt.Sprintf("0 (unlimited), or at least %d, the size of one message", schema.MaxMessageBytes)
	for _, limit := range []struct {
		flag    string
		n       *int64
		min     int64 // unless it is 0
		allowed string
	}{
		{"outcomes-max-bytes", c.OutcomesMaxBytes, schema.MaxMessageBytes, oneMessage},
		{"declared-max-msgs", c.DeclaredMaxMsgs, 1, "0 or more"},
		{"declared-max-bytes", c.DeclaredMaxBytes, schema.MaxMessageBytes, oneMessage},
		{"polls-max-bytes", c.PollsMaxBytes, topology.MinPollsBytes, fmt.Sprintf(
			"0 (unlimited), or at least %d", topology.MinPollsBytes)},
		{"workers-max-bytes", c.WorkersMaxBytes, schema.MaxAnnouncementBytes, fmt.Sprintf(
			"0 (unlimited), or at least %d, the size of one announcement", schema.MaxAnnouncementBytes)},
	} {
		if limit.n != nil && *limit.n != 0 && *limit.n < limit.min {
			return consumer.Config{}, cli.BadFlag(c, limit.flag, fmt.Sprint(*limit.n), limit.allowed)
		}
	}
	if c.MaxAckPending != nil && *c.MaxAckPending < 1 {
		return consumer.Config{}, cli.BadFlag(c, "max-ack-pending", fmt.Sprint(*c.MaxAckPending), "at least 1")
	}
	cfg := consumer.Config{
		Namespace: c.Namespace, Intervals: intervals, RequestTimeout: c.RequestTimeout, Log: log,
		Deadline: math.MaxInt64, // no stream or consumer depends on it
	}
	if err := cfg.Check(); err != nil {
		return cfg, flags.AsUsage(err)
	}
	return cfg, nil
}

// checkTopology returns the mode of the streams, or an error if a worker cannot run on them or on this server. The
// error contains the command that fixes it.
func checkTopology(ctx context.Context, js jetstream.JetStream, cfg consumer.Config) (consumer.Mode, error) {
	mode, err := checkStreams(ctx, js, cfg)
	if err != nil {
		return "", advice.Topology(err)
	}
	streams := consumer.Topology(cfg, consumer.Choices{Mode: mode}).Streams
	return mode, topology.CheckServer(js.Conn().ConnectedServerVersion(), streams)
}

// checkStreams is checkTopology without the server's version and without advice.
func checkStreams(ctx context.Context, js jetstream.JetStream, cfg consumer.Config) (consumer.Mode, error) {
	outcomes := publisher.Topology(publisher.Choices{Namespace: cfg.Namespace, MaxAge: publisher.DefaultMaxAge})
	return provisioning.Check(ctx, js, cfg, outcomes)
}
