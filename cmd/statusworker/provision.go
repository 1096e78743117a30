package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/consumer"
	"statusworker/publisher"
	"statusworker/schema/topology"
)

type provisionCommand struct {
	HoldBack         consumer.Mode `name:"hold-back" var:"STATUSWORKER_HOLD_BACK" default:"reserve" enum:"reserve,nak" help:"How interactions wait between polls: reserve (message schedules, nats-server 2.12.10 or 2.14.2 or newer) or nak (older servers)."`
	Replicas         int           `name:"replicas" var:"STATUSWORKER_REPLICAS" default:"1" help:"Copies of each stream in a cluster: 1, 3 or 5. Production wants 3."`
	MaxAge           time.Duration `name:"max-age" var:"STATUSWORKER_MAX_AGE" default:"336h" help:"How long outcomes are kept."`
	OutcomesMaxBytes int64         `name:"outcomes-max-bytes" var:"STATUSWORKER_OUTCOMES_MAX_BYTES" default:"0" help:"Bound of the outcomes stream, the oldest go first; 0 is none."`
	DeclaredMaxMsgs  int64         `name:"declared-max-msgs" var:"STATUSWORKER_DECLARED_MAX_MSGS" default:"0" help:"How many declared messages may wait to be taken in, more are refused at the publish; 0 is no bound."`
	DeclaredMaxBytes int64         `name:"declared-max-bytes" var:"STATUSWORKER_DECLARED_MAX_BYTES" default:"0" help:"The same in bytes."`
	DryRun           bool          `name:"dry-run" help:"Change nothing; exit 1 when something differs."`
	Update           bool          `name:"update" help:"Change what is there and differs."`

	brokerFlags `embed:"" group:"NATS"`
	vendorFlags `embed:"" group:"ElevateAI"`
	timingFlags `embed:"" group:"Timing"`
	logFlags    `embed:"" group:"Log"`
}

// Run makes the streams and consumers be as they should.
func (c provisionCommand) Run(ctx context.Context, p process) error {
	log, err := c.logger(p.stderr)
	if err != nil {
		return err
	}
	set, err := c.wanted(log)
	if err != nil {
		return err
	}
	nc, err := c.connect(ctx, clientName(), log)
	if err != nil {
		return stopped(ctx, err)
	}
	defer closeConnection(nc)
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("using JetStream: %w", err)
	}
	if v := nc.ConnectedServerVersion(); c.HoldBack == consumer.Reserve && !consumer.CanReserve(v) {
		return fmt.Errorf("the NATS server is version %s: --hold-back reserve needs 2.12.10 (in the 2.12 line) or 2.14.2 or newer, because message schedules are not sound before; upgrade it, or use --hold-back nak", v)
	}
	return stopped(ctx, provision(ctx, js, p, log, set, c.DryRun, c.Update))
}

func (c provisionCommand) wanted(log logrus.FieldLogger) (topology.Set, error) {
	intervals, err := c.intervals(c.vendorFlags)
	if err != nil {
		return topology.Set{}, err
	}
	switch {
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return topology.Set{}, badFlag("replicas", variable("replicas"), fmt.Sprint(c.Replicas), "1, 3 or 5")
	case c.MaxAge < time.Hour:
		return topology.Set{}, badFlag("max-age", variable("max-age"), c.MaxAge.String(), "at least 1h: outcomes also tell that an interaction has ended")
	}
	for flag, n := range map[string]int64{
		"outcomes-max-bytes": c.OutcomesMaxBytes, "declared-max-msgs": c.DeclaredMaxMsgs, "declared-max-bytes": c.DeclaredMaxBytes,
	} {
		if n < 0 {
			return topology.Set{}, badFlag(flag, variable(flag), fmt.Sprint(n), "0 or more")
		}
	}
	cfg := consumer.Config{Intervals: intervals, RequestTimeout: c.RequestTimeout, Log: log}
	if err := cfg.Check(); err != nil {
		return topology.Set{}, asUsage(err)
	}
	waiting := consumer.Topology(cfg, consumer.Choices{
		Mode: c.HoldBack, Replicas: c.Replicas, DeclaredMaxMsgs: c.DeclaredMaxMsgs, DeclaredMaxBytes: c.DeclaredMaxBytes,
	})
	return waiting.Add(publisher.Topology(publisher.Choices{Replicas: c.Replicas, MaxAge: c.MaxAge, MaxBytes: c.OutcomesMaxBytes})), nil
}

// provision compares, and then creates and updates as it may. It says what it does.
func provision(ctx context.Context, js jetstream.JetStream, p process, log logrus.FieldLogger, set topology.Set, dryRun, update bool) error {
	var found []topology.Difference
	compare := func(ctx context.Context) (err error) {
		found, err = topology.Compare(ctx, js, set)
		return err
	}
	if err := settledBroker(ctx, log, compare); err != nil {
		return err
	}
	differing, unwanted := 0, 0
	for _, d := range found {
		switch {
		case d.Missing && dryRun:
			say(p.stdout, "would create %s", d.Object)
		case d.Missing:
		case d.Unwanted:
			unwanted++
			say(p.stdout, "%s", d)
		default:
			differing++
			say(p.stdout, "%s", d)
		}
	}
	switch {
	case len(found) == 0:
		say(p.stdout, "everything is as it should be")
		return nil
	case dryRun:
		return errReported
	case unwanted > 0:
		return errors.New("the streams were made for the other way of holding back; nothing was changed")
	}
	// What an attempt has made, the next one finds: a broker may begin to elect between any two of them.
	err := settledBroker(ctx, log, func(ctx context.Context) error {
		made, err := topology.Create(ctx, js, set)
		for _, object := range made {
			say(p.stdout, "created %s", object)
		}
		return err
	})
	if err != nil {
		return err
	}
	if differing == 0 {
		return nil
	}
	if !update {
		return errors.New("what differs was left as it is; run it again with --update to change it")
	}
	err = settledBroker(ctx, log, func(ctx context.Context) error {
		changed, err := topology.Update(ctx, js, set)
		for _, object := range changed {
			say(p.stdout, "updated %s", object)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := settledBroker(ctx, log, compare); err != nil {
		return err
	}
	for _, d := range found {
		say(p.stdout, "still %s", d)
	}
	if len(found) > 0 {
		return errors.New("the broker did not take every change")
	}
	return nil
}

// checkTopology says whether a worker can run on what there is, and which command mends it if not.
func checkTopology(ctx context.Context, js jetstream.JetStream, cfg consumer.Config) error {
	mode, err := consumer.Check(ctx, js, cfg)
	if err != nil {
		return err
	}
	found, err := topology.Compare(ctx, js, publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge}))
	if err != nil {
		return err
	}
	var bad []topology.Difference
	for _, d := range found {
		if !d.Choice {
			bad = append(bad, d)
		}
	}
	if len(bad) > 0 {
		return &consumer.TopologyError{Differences: bad, Mode: mode}
	}
	return nil
}
