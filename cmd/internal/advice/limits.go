package advice

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/schema"
)

// Exceeded describes a limit of an account that is exceeded, and what to do.
func Exceeded(e provisioning.Excess) string {
	name := string(e.Limit)
	if e.Tier != "" && e.Limit != provisioning.LimitTier {
		name += " of tier " + e.Tier
	}
	objects := strings.Join(e.Objects, ", ")
	raise := fmt.Sprintf("raise the account's %s to %d or more", e.Limit, e.Used+e.Needed)
	sizes := sizeFlags(e.Objects)
	switch e.Limit {
	case provisioning.LimitTier:
		return fmt.Sprintf("tier %s: the account has no limits for streams with %s replicas, needed for %s; set "+
			"--replicas to a number for which it has limits, or add the tier to the account",
			e.Tier, strings.TrimPrefix(e.Tier, "R"), objects)
	case provisioning.LimitMaxBytesRequired:
		return fmt.Sprintf("%s: these have no maximum size: %s; set %s%s", name, objects, sizes, keepRoom(e.Objects))
	case provisioning.LimitMaxStreamBytes:
		return fmt.Sprintf("%s is %d, but %s has a maximum size of %d; set %s to %d or less, or %s",
			name, e.Allowed, objects, e.Needed, sizes, e.Allowed, raise)
	case provisioning.LimitMaxStore:
		return fmt.Sprintf("%s is %d bytes, and other streams reserve %d of them, but those of statusworker reserve "+
			"%d (their maximum sizes; in an account without tiers, for each replica); set smaller sizes (%s), or %s",
			name, e.Allowed, e.Used, e.Needed, sizes, raise)
	case provisioning.LimitMaxStreams:
		return fmt.Sprintf("%s is %d, and %d exist, but %d more must be created: %s; delete unused streams, or %s",
			name, e.Allowed, e.Used, e.Needed, objects, raise)
	case provisioning.LimitMaxConsumers:
		return fmt.Sprintf("%s is %d for each stream, but %s has %d and needs %d more; delete unused consumers, or %s",
			name, e.Allowed, objects, e.Used, e.Needed, raise)
	case provisioning.LimitMaxAckPending:
		return fmt.Sprintf("%s is %d, but %d is set for %s; set --max-ack-pending to %d or less, or %s",
			name, e.Allowed, e.Needed, objects, e.Allowed, raise)
	}
	return fmt.Sprintf("%s is %d, but %s needs %d", name, e.Allowed, objects, e.Needed)
}

// sizes are the flags of provision for the maximum size of each kind of stream.
var sizes = map[schema.Kind]string{
	schema.KindDeclared: "--declared-max-bytes",
	schema.KindPolls:    "--polls-max-bytes",
	schema.KindWorkers:  "--workers-max-bytes",
	schema.KindOutcomes: "--outcomes-max-bytes",
}

func sizeFlags(objects []string) string {
	var flags []string
	for _, object := range objects {
		if flag := sizes[schema.KindOf(object)]; flag != "" && !slices.Contains(flags, flag) {
			flags = append(flags, flag)
		}
	}
	return strings.Join(flags, ", ")
}

// keepRoom warns of a maximum size of the stream with reservations.
func keepRoom(objects []string) string {
	for _, object := range objects {
		if schema.KindOf(object) == schema.KindPolls {
			return fmt.Sprintf(" (when %s has no room for more interactions, declared messages wait: docs/deploy.md "+
				"has the size that a number of interactions needs; --redelivery nak has no such stream)", object)
		}
	}
	return ""
}

// The broker's error codes for limits of the account or of the server, and for several replicas on a single server.
const (
	errStorage       jetstream.ErrorCode = 10047
	errNoTier        jetstream.ErrorCode = 10120
	errStreams       jetstream.ErrorCode = 10027
	errConsumers     jetstream.ErrorCode = 10026
	errAckPending    jetstream.ErrorCode = 10121
	errBytesRequired jetstream.ErrorCode = 10113
	errStreamBytes   jetstream.ErrorCode = 10122
)

const sizeFlagNames = "--declared-max-bytes, --polls-max-bytes, --workers-max-bytes and --outcomes-max-bytes"

var limitErrors = map[jetstream.ErrorCode]string{
	errStorage: "set smaller maximum sizes (" + sizeFlagNames + "), or raise max_file of the account or " +
		"max_file_store of the server",
	errNoTier:  "set --replicas to a number for which the account has limits, or add the tier to the account",
	errStreams: "delete streams that nothing uses, or raise max_streams of the account",
	errConsumers: "delete consumers of the stream that nothing uses, or raise max_consumers of the account or of the " +
		"stream",
	errAckPending: "set --max-ack-pending to the limit or less, or raise max_ack_pending of the account or of the " +
		"server",
	errBytesRequired: "set " + sizeFlagNames,
	errStreamBytes:   "set smaller maximum sizes (" + sizeFlagNames + "), or raise the account's limit",
}

// Limits adds what to do to an error of the broker about a limit. It returns every other error unchanged.
func Limits(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) || limitErrors[api.ErrorCode] == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, limitErrors[api.ErrorCode])
}
