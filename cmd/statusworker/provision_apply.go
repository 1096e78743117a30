package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// apply compares, and then creates and updates as it may. It says what it does.
func (c provisionCommand) apply(
	ctx context.Context, js jetstream.JetStream, p cli.Process, log logrus.FieldLogger, set topology.Set,
) error {
	found, report, err := c.look(ctx, js, log, set)
	if err != nil {
		return err
	}
	differing, other := len(report.Undelivered), slices.ContainsFunc(
		found,
		func(d topology.Difference) bool { return d.Unwanted },
	)
	for _, d := range found {
		switch {
		case d.Missing && c.DryRun && !other:
			say(p.Stdout, "would create %s", d.Object)
		case d.Missing:
		default:
			differing++
			say(p.Stdout, "%s", advice.Difference(d, c.Redelivery))
		}
	}
	for _, u := range report.Undelivered {
		say(p.Stdout, "%s", u)
	}
	for _, f := range report.Foreign {
		say(p.Stdout, "%s", f)
	}
	switch {
	case len(found) == 0 && differing == 0 && len(report.Foreign) == 0:
		say(p.Stdout, "everything is as it should be")
		return nil
	case other:
		return errors.New(
			"the streams were made for the other way of holding back; nothing was changed. To keep it, leave out " +
				"--redelivery ($STATUSWORKER_REDELIVERY), or name the way that is there; to change over, see docs/design.md",
		)
	case c.DryRun:
		return cli.ErrReported
	}
	// What an attempt has made, the next one finds: a broker may begin to elect between any two of them.
	err = connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
		made, err := provisioning.Create(ctx, js, set)
		for _, object := range made {
			say(p.Stdout, "created %s", object)
		}
		return err
	})
	if err != nil {
		return alone(err)
	}
	switch {
	case differing > 0 && !c.Update:
		return errors.New("what differs was left as it is; run it again with --update to change it")
	case differing > 0:
		if err := c.update(ctx, js, p, log, set); err != nil {
			return err
		}
	}
	if len(report.Foreign) > 0 {
		return errForeign
	}
	return nil
}

var errForeign = errors.New(
	"another consumer takes messages away: find the stream that sources or mirrors one of these and delete it; " +
		"see StatusworkerForeignConsumers in docs/alerts.md",
)

// look finds out what is to be done.
func (provisionCommand) look(
	ctx context.Context, js jetstream.JetStream, log logrus.FieldLogger, set topology.Set,
) (found []topology.Difference, report provisioning.Report, err error) {
	err = connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) (err error) {
		found, err = provisioning.Compare(ctx, js, set)
		return err
	})
	if err != nil {
		return nil, provisioning.Report{}, err
	}
	err = connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) (err error) {
		report, err = provisioning.Inspect(ctx, js, set)
		return err
	})
	return found, report, err
}

// update changes what differs, and has delivered what no consumer delivers any more.
func (c provisionCommand) update(
	ctx context.Context, js jetstream.JetStream, p cli.Process, log logrus.FieldLogger, set topology.Set,
) error {
	err := connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
		changed, err := provisioning.Update(ctx, js, set)
		for _, object := range changed {
			say(p.Stdout, "updated %s", object)
		}
		return err
	})
	if err != nil {
		return fixed(alone(err))
	}
	// A consumer that has another filter now may have passed over what it is to deliver.
	found, report, err := c.look(ctx, js, log, set)
	if err != nil {
		return err
	}
	if len(report.Undelivered) > 0 {
		if err := c.redeliver(ctx, js, p, log, set, report.Undelivered); err != nil {
			return err
		}
		if found, report, err = c.look(ctx, js, log, set); err != nil {
			return err
		}
	}
	for _, d := range found {
		say(p.Stdout, "still %s", advice.Difference(d, c.Redelivery))
	}
	for _, u := range report.Undelivered {
		say(p.Stdout, "still %s", u)
	}
	if len(found) > 0 || len(report.Undelivered) > 0 {
		return errors.New("the broker did not take every change")
	}
	return nil
}

// redeliver recreates consumers. With delayed naks the broker forgets with them for how long each interaction is to
// wait, so that no worker may be there.
func (c provisionCommand) redeliver(
	ctx context.Context,
	js jetstream.JetStream,
	p cli.Process,
	log logrus.FieldLogger,
	set topology.Set,
	undelivered []provisioning.Undelivered,
) error {
	return connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
		if c.Redelivery == consumer.Nak {
			bucket, err := js.Stream(ctx, schema.StreamWorkers)
			if err != nil {
				return fmt.Errorf("reading stream %s: %w", schema.StreamWorkers, err)
			}
			if n := bucket.CachedInfo().State.Msgs; n > 0 {
				return fmt.Errorf(
					"%d workers are alive: with delayed naks, a consumer that is made anew delivers everything at once, and "+
						"polls are too early; stop the workers, wait for the longest interval, and run it again",
					n,
				)
			}
		}
		recreated, err := provisioning.Redeliver(ctx, js, set, undelivered)
		for _, object := range recreated {
			say(p.Stdout, "recreated %s", object)
		}
		return err
	})
}

// streamFixed and consumerFixed are the broker's codes for changes that it makes in nothing that exists, among others.
const (
	streamFixed   jetstream.ErrorCode = 10052
	consumerFixed jetstream.ErrorCode = 10012
)

// fixed adds what to do about a change that the broker does not make.
func fixed(err error) error {
	if api := (*jetstream.APIError)(nil); errors.As(err, &api) &&
		(api.ErrorCode == streamFixed || api.ErrorCode == consumerFixed) {
		return fmt.Errorf(
			"%w; NATS cannot change this in a stream that exists: see `Recreate a stream` in docs/deploy.md",
			err,
		)
	}
	return err
}

// noCluster is the broker's code for more than one replica on a server that is alone.
const noCluster jetstream.ErrorCode = 10074

// alone adds what fixes replicas on a server that is alone.
func alone(err error) error {
	if api := (*jetstream.APIError)(nil); errors.As(err, &api) && api.ErrorCode == noCluster {
		return fmt.Errorf(
			"%w; this server is no cluster: leave out --replicas ($%s), or provision in a cluster",
			err,
			cli.Variable(provisionCommand{}, "replicas"),
		)
	}
	return err
}
