// Package advice turns facts that other packages report into sentences for operators, with the commands to run. The
// packages that report the facts contain no advice.
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

// once is the advice if no stream exists.
const once = "run `%s` once, as a user with permission to create streams"

// Command returns a command line of statusworker, with the namespace if it is not the default.
func Command(n schema.Namespace, arguments string) string {
	if !n.IsDefault() {
		arguments += " --namespace " + n.String()
	}
	return "statusworker " + arguments
}

// ProvisionCommand returns the command that creates the streams and consumers for workers of this configuration. With
// [consumer.Nak] they depend on the intervals and the request timeout, so the command sets those that differ from the
// defaults.
func ProvisionCommand(mode consumer.Mode, cfg consumer.Config) string {
	command := Command(cfg.Namespace, "provision")
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
		command += " --base-url URL" // short intervals are allowed for a vendor on this machine only
	}
	return command
}

// UpdateCommand returns the command that also updates what differs, and recreates consumers that do not deliver.
func UpdateCommand(mode consumer.Mode, cfg consumer.Config) string {
	return ProvisionCommand(mode, cfg) + " --update"
}

// FixTopology returns how to correct the streams and consumers.
func FixTopology(e *provisioning.TopologyError) string {
	command := ProvisionCommand(e.Mode, e.Config)
	switch {
	case len(e.Differences) == 0:
		return fmt.Sprintf(once, command)
	case slices.ContainsFunc(e.Differences, func(d topology.Difference) bool { return d.Unwanted }):
		return fmt.Sprintf("some belong to redelivery %s; to change to redelivery %s, see "+
			"`Change the redelivery mode` in docs/deploy.md", Other(e.Mode), e.Mode)
	case slices.ContainsFunc(e.Differences, func(d topology.Difference) bool { return !d.Missing }):
		command = UpdateCommand(e.Mode, e.Config)
	}
	return "`" + command + "` fixes it; add --dry-run to see its changes first"
}

// Topology adds what to do to a [provisioning.TopologyError]. It returns every other error unchanged.
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

// Difference returns a difference from the streams and consumers of a mode as text, with the mode to which a consumer
// that must not exist belongs, or how a consumer gets what NATS cannot change.
func Difference(d topology.Difference, mode consumer.Mode) string {
	switch {
	case d.Unwanted:
		return fmt.Sprintf("%s: it belongs to redelivery %s", d, Other(mode))
	case d.Fixed:
		return fmt.Sprintf("%s: NATS cannot change this, so --update recreates the consumer", d)
	}
	return d.String()
}

// Other returns the other redelivery mode.
func Other(mode consumer.Mode) consumer.Mode {
	if mode == consumer.Nak {
		return consumer.Schedule
	}
	return consumer.Nak
}

// Missing adds the command that creates what is missing to an [overview.MissingError]. It returns every other error
// unchanged.
func Missing(err error) error {
	var missing *overview.MissingError
	if !errors.As(err, &missing) {
		return err
	}
	command := ProvisionCommand(missing.Redelivery, consumer.Config{Namespace: missing.Namespace})
	if missing.Nothing {
		return fmt.Errorf("%w: "+once, err, command)
	}
	return fmt.Errorf("%w; run `%s`", err, command)
}

// Deleted adds what to do to a [consumer.DeletedError] of a worker. It returns every other error unchanged.
func Deleted(err error, mode consumer.Mode, cfg consumer.Config) error {
	var deleted *consumer.DeletedError
	if !errors.As(err, &deleted) {
		return err
	}
	return fmt.Errorf("%w; run `%s`, then start the worker again", err, ProvisionCommand(mode, cfg))
}
