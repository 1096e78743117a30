// Package advice says what to do about what the other packages report: in sentences, with commands to type. It is the
// only one that does, so that the packages it explains return facts.
package advice

import (
	"errors"
	"fmt"
	"slices"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// once is the advice where no stream exists.
const once = "run `%s` once, with the rights to create streams"

// ProvisionCommand is the command that makes streams and consumers for workers of this configuration. Those for delayed
// naks depend on the intervals and the request timeout, so the command names these where they are not the defaults.
func ProvisionCommand(mode consumer.Mode, cfg consumer.Config) string {
	command := "statusworker provision"
	if mode != consumer.Nak {
		return command
	}
	command += " --redelivery nak"
	for _, t := range schema.Types() {
		if own := cfg.Intervals.Of(t); own != 0 && own != consumer.Guidance.Of(t) {
			command += fmt.Sprintf(" --%s-interval %s", t, schema.Duration(own))
		}
	}
	if own := cfg.RequestTimeout; own != 0 && own != consumer.DefaultRequestTimeout {
		command += " --request-timeout " + schema.Duration(own)
	}
	short := func(t schema.Type) bool {
		return cfg.Intervals.Of(t) != 0 && cfg.Intervals.Of(t) < consumer.Guidance.Of(t)
	}
	if slices.ContainsFunc(schema.Types(), short) {
		command += " --base-url URL" // of a vendor on this machine; for others it refuses short intervals
	}
	return command
}

// UpdateCommand is the command that also changes what differs, and recreates consumers that do not deliver.
func UpdateCommand(mode consumer.Mode, cfg consumer.Config) string {
	return ProvisionCommand(mode, cfg) + " --update"
}

// FixTopology says how to make streams and consumers fit.
func FixTopology(e *provisioning.TopologyError) string {
	command := ProvisionCommand(e.Mode, e.Config)
	switch {
	case len(e.Differences) == 0:
		return fmt.Sprintf(once, command)
	case slices.ContainsFunc(e.Differences, func(d topology.Difference) bool { return d.Unwanted }):
		return changeOver(e.Mode) + "; then run `" + command + "`"
	case slices.ContainsFunc(e.Differences, func(d topology.Difference) bool { return !d.Missing }):
		command = UpdateCommand(e.Mode, e.Config)
	}
	return "`" + command + "` fixes it; add --dry-run to see its changes first"
}

// Topology adds to a [provisioning.TopologyError] what to do about it. Every other error is returned as it is.
func Topology(err error) error {
	var unfit *provisioning.TopologyError
	if !errors.As(err, &unfit) {
		return err
	}
	if len(unfit.Differences) == 0 {
		return fmt.Errorf("%w: %s", err, FixTopology(unfit))
	}
	return fmt.Errorf("%w; %s", err, FixTopology(unfit))
}

// Difference shows a difference from the streams and consumers of a mode, and what to do about one that no command
// changes.
func Difference(d topology.Difference, mode consumer.Mode) string {
	if d.Unwanted {
		return d.String() + ": " + changeOver(mode)
	}
	return d.String()
}

// changeOver says what to do about consumers of the other mode.
func changeOver(to consumer.Mode) string {
	if to == consumer.Nak {
		return "the streams are made for reservations; to change over to delayed naks, let the streams run empty, stop the " +
			"workers and delete it and stream " + schema.StreamPolls
	}
	return "the streams are made for delayed naks; to change over to reservations, let the streams run empty, stop the " +
		"workers and delete it"
}

// Missing adds to an [overview.MissingError] the command that creates what is missing. Every other error is returned as
// it is.
func Missing(err error) error {
	var missing *overview.MissingError
	if !errors.As(err, &missing) {
		return err
	}
	command := ProvisionCommand(missing.Redelivery, consumer.Config{})
	if missing.Nothing {
		return fmt.Errorf("%w: "+once, err, command)
	}
	return fmt.Errorf("%w; run `%s`", err, command)
}

// Deleted adds to a [consumer.DeletedError] of a worker what to do about it. Every other error is returned as it is.
func Deleted(err error, mode consumer.Mode, cfg consumer.Config) error {
	var deleted *consumer.DeletedError
	if !errors.As(err, &deleted) {
		return err
	}
	return fmt.Errorf("%w; run `%s`, then start the worker again", err, ProvisionCommand(mode, cfg))
}
