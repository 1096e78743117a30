package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/connect"
	"statusworker/consumer"
	"statusworker/schema/topology"
)

// apply compares the topology with the broker, and creates and updates what the flags allow. It prints what it does.
func (c provisionCommand) apply(
	ctx context.Context, js jetstream.JetStream, p cli.Process, log logrus.FieldLogger, set topology.Set,
) error {
	found, report, err := c.compare(ctx, js, log, set)
	if err != nil {
		return err
	}
	otherMode := slices.ContainsFunc(found, func(d topology.Difference) bool { return d.Unwanted })
	missing := slices.ContainsFunc(found, func(d topology.Difference) bool { return d.Missing })
	if err := c.checkTarget(ctx, js, p, missing && !otherMode); err != nil {
		return err
	}
	differing := c.print(p, found, report, otherMode)
	switch {
	case len(found) == 0 && differing == 0 && len(report.Foreign) == 0:
		say(p.Stdout, "nothing to change")
		return nil
	case otherMode:
		return errOtherMode(c.Redelivery)
	}
	if err := c.checkLimits(ctx, js, p, log, set); err != nil || c.DryRun {
		return cmp.Or(err, cli.ErrReported)
	}
	return c.change(ctx, js, p, log, set, found, report, differing)
}

// change creates what is missing, and changes what differs if the flags allow it.
func (c provisionCommand) change(
	ctx context.Context, js jetstream.JetStream, p cli.Process, log logrus.FieldLogger, set topology.Set,
	found []topology.Difference, report provisioning.Report, differing int,
) error {
	if err := c.create(ctx, js, p, log, set, found); err != nil {
		return err
	}
	switch {
	case differing > 0 && !c.Update:
		return errors.New("existing streams or consumers differ, and were not changed: " +
			"to change them, run the command with --update")
	case differing > 0:
		if err := c.update(ctx, js, p, log, set, found, report); err != nil {
			return err
		}
	}
	if len(report.Foreign) > 0 {
		return errForeign
	}
	return nil
}

// checkLimits rejects what the limits of the account do not allow, before anything is changed.
func (c provisionCommand) checkLimits(
	ctx context.Context, js jetstream.JetStream, p cli.Process, log logrus.FieldLogger, set topology.Set,
) error {
	existing := provisioning.Keep
	if c.Update {
		existing = provisioning.Change
	}
	var exceeded []provisioning.Excess
	err := connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) (err error) {
		exceeded, err = provisioning.Exceeded(ctx, js, set, existing)
		return err
	})
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		log.WithError(err).Warn("limits of the account were not checked")
		return nil
	case err != nil:
		return err
	case len(exceeded) == 0:
		return nil
	}
	for _, e := range exceeded {
		say(p.Stdout, "limit %s", advice.Exceeded(e))
	}
	return fmt.Errorf("%w; nothing was changed; the lines that begin with `limit` say what to set",
		&provisioning.LimitsError{Exceeded: exceeded})
}

// create creates what is missing. It is repeated if the broker elects a leader in between, and then finds what an
// earlier attempt has created.
func (c provisionCommand) create(
	ctx context.Context, js jetstream.JetStream, p cli.Process, log logrus.FieldLogger, set topology.Set,
	found []topology.Difference,
) error {
	work := &progress{p: p, verb: "created", left: missing(found)}
	err := connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
		made, err := provisioning.Create(ctx, js, set)
		work.done(made)
		return err
	})
	if err != nil {
		return work.stopped(adviseReplicas(advice.Limits(err)))
	}
	return nil
}

// print prints what differs, and returns how many differences only --update changes.
func (c provisionCommand) print(
	p cli.Process, found []topology.Difference, report provisioning.Report, otherMode bool,
) (differing int) {
	for _, d := range found {
		switch {
		case d.Missing && c.DryRun && !otherMode:
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
	return differing + len(report.Undelivered)
}

// errOtherMode is the error if the streams have another mode than the flag.
func errOtherMode(flag consumer.Mode) error {
	return fmt.Errorf("the streams have redelivery %s, but --redelivery ($STATUSWORKER_REDELIVERY) is %s; nothing was "+
		"changed. To keep %[1]s, omit the flag; to change to %[2]s, see `Change the redelivery mode` in "+
		"docs/deploy.md", advice.Other(flag), flag)
}

var errForeign = errors.New(
	"a foreign consumer takes messages from workers: find and delete the stream that sources or mirrors this stream; " +
		"see StatusworkerForeignConsumers in docs/alerts.md",
)

// compare returns what differs, and which messages are not delivered.
func (provisionCommand) compare(
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

// update changes what differs, and recreates the consumers that NATS cannot change or that no longer deliver stored
// messages.
func (c provisionCommand) update(
	ctx context.Context, js jetstream.JetStream, p cli.Process, log logrus.FieldLogger, set topology.Set,
	found []topology.Difference, report provisioning.Report,
) error {
	work := &progress{p: p, verb: "updated", left: differing(found, report.Undelivered)}
	err := connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
		changed, err := provisioning.Update(ctx, js, set)
		work.done(changed)
		return err
	})
	if err != nil {
		return work.stopped(adviseImmutable(adviseReplicas(advice.Limits(err))))
	}
	// A consumer whose filter was changed may have skipped messages.
	if found, report, err = c.compare(ctx, js, log, set); err != nil {
		return err
	}
	if objects := provisioning.ToRecreate(found, report.Undelivered); len(objects) > 0 {
		if err := c.recreate(ctx, js, p, log, set, objects); err != nil {
			return err
		}
		if found, report, err = c.compare(ctx, js, log, set); err != nil {
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
		return errors.New("NATS accepted every change, but the settings in the lines that begin with `still` still " +
			"differ. If another client, such as a GitOps controller, changes them back, change them there. Otherwise " +
			"recreate the stream: see `Recreate a stream` in docs/deploy.md")
	}
	return nil
}

// recreate recreates consumers. With delayed naks, the broker then forgets how long each interaction has to wait. So
// there must be no live worker.
func (c provisionCommand) recreate(
	ctx context.Context, js jetstream.JetStream, p cli.Process, log logrus.FieldLogger, set topology.Set,
	objects []string,
) error {
	work := &progress{p: p, verb: "recreated", left: objects}
	err := connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
		if c.Redelivery == consumer.Nak {
			bucket, err := js.Stream(ctx, c.Namespace.StreamWorkers())
			if err != nil {
				return fmt.Errorf("reading stream %s: %w", c.Namespace.StreamWorkers(), err)
			}
			if n := bucket.CachedInfo().State.Msgs; n > 0 {
				return fmt.Errorf("%d workers are alive: with delayed naks, a recreated consumer delivers all "+
					"messages at once, and workers would poll too early; stop all workers, and wait for the longest "+
					"poll interval", n)
			}
		}
		recreated, err := provisioning.Recreate(ctx, js, set, slices.Clone(work.left))
		work.done(recreated)
		return err
	})
	if err != nil {
		return work.stopped(advice.Limits(err))
	}
	return nil
}

// streamUpdate is the broker's error code for updates of streams that it does not support, among others.
const streamUpdate jetstream.ErrorCode = 10052

// adviseImmutable adds advice to an error about an update that the broker does not support.
func adviseImmutable(err error) error {
	if api := (*jetstream.APIError)(nil); errors.As(err, &api) && api.ErrorCode == streamUpdate {
		return fmt.Errorf("%w; NATS cannot change this: see `Recreate a stream` in docs/deploy.md", err)
	}
	return err
}

// noCluster is the broker's error code for several replicas on a single server.
const noCluster jetstream.ErrorCode = 10074

// adviseReplicas adds advice to an error about replicas on a single server.
func adviseReplicas(err error) error {
	if api := (*jetstream.APIError)(nil); errors.As(err, &api) && api.ErrorCode == noCluster {
		return fmt.Errorf("%w; the server is not in a cluster: omit --replicas ($%s), or provision in a cluster",
			err, cli.Variable(provisionCommand{}, "replicas"))
	}
	return err
}
