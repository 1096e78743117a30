package provisioning

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/topology"
)

// Limit is a kind of limit of an account.
type Limit string

// The limits, by their names in the server's configuration. LimitTier stands for an account with limits for other
// numbers of replicas only.
const (
	LimitTier             Limit = "tier"
	LimitMaxBytesRequired Limit = "max_bytes_required"
	LimitMaxStreamBytes   Limit = "disk_max_stream_bytes"
	LimitMaxStore         Limit = "max_file"
	LimitMaxStreams       Limit = "max_streams"
	LimitMaxConsumers     Limit = "max_consumers"
	LimitMaxAckPending    Limit = "max_ack_pending"
)

// Excess is a limit of the account that does not let a set be created, updated or used.
type Excess struct {
	Limit Limit
	// Tier is the tier of the limit, such as R3; empty if the account has the same limits for all streams.
	Tier string
	// Allowed is the value of the limit, and Used what others use of it. Needed is what the set needs. All are 0 with
	// LimitTier and LimitMaxBytesRequired.
	Allowed, Used, Needed int64
	// Objects are the streams and consumers that need it, as [topology.Difference.Object].
	Objects []string
}

// LimitsError reports that limits of the account do not allow what is to be created or changed.
type LimitsError struct{ Exceeded []Excess }

func (e *LimitsError) Error() string {
	names := make([]string, len(e.Exceeded))
	for i, one := range e.Exceeded {
		names[i] = string(one.Limit)
	}
	return "limits of the account do not allow it: " + strings.Join(names, ", ")
}

// Existing is what happens to streams and consumers that exist.
type Existing int

const (
	// Keep does not change what exists.
	Keep Existing = iota
	// Change changes what differs, as [Update] does.
	Change
	// Judge requires that what exists could be created with its present settings.
	Judge
)

// Exceeded returns the limits of the account that a set exceeds, before anything is created or changed. The server that
// stores a stream may have less than the account's limits allow, so the broker may still reject a stream.
func Exceeded(
	ctx context.Context, js jetstream.JetStream, want topology.Set, existing Existing,
) ([]Excess, error) {
	account, err := js.AccountInfo(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the limits of the account: %w", err)
	}
	var streams []demand
	for _, cfg := range want.Streams {
		have, err := js.Stream(ctx, cfg.Name)
		if err != nil && !Absent(err) {
			return nil, fmt.Errorf("reading stream %s: %w", cfg.Name, err)
		}
		d := demand{cfg: cfg, concerned: true}
		if err == nil {
			info := have.CachedInfo()
			d.have, d.consumers = &info.Config, info.State.Consumers
			d.cfg, d.concerned = target(info.Config, cfg, existing)
			d.judged = existing == Judge
		}
		if err := d.readConsumers(ctx, js, want.Consumers, existing); err != nil {
			return nil, err
		}
		streams = append(streams, d)
	}
	return exceeded(account, streams), nil
}

// target returns the configuration that an existing stream will have, and whether the account's limits apply to it.
func target(have, want jetstream.StreamConfig, existing Existing) (jetstream.StreamConfig, bool) {
	switch {
	case existing == Judge:
		return have, true
	case existing == Change && len(topology.CompareStream(have, want)) > 0:
		return topology.MergeStream(have, want), true
	}
	return have, false
}

// readConsumers adds what the consumers of a stream need.
func (d *demand) readConsumers(
	ctx context.Context, js jetstream.JetStream, want []topology.Consumer, existing Existing,
) error {
	for _, c := range want {
		if c.Stream != d.cfg.Name {
			continue
		}
		var have jetstream.Consumer
		err := error(jetstream.ErrConsumerNotFound)
		if d.have != nil {
			have, err = js.Consumer(ctx, c.Stream, c.Config.Durable)
		}
		switch {
		case Absent(err):
			d.missing++
			d.pending = append(d.pending, c)
		case err != nil:
			return fmt.Errorf("reading %s: %w", c.Object(), err)
		case existing == Judge:
			d.pending = append(d.pending, topology.Consumer{Stream: c.Stream, Config: have.CachedInfo().Config})
		case existing == Change && len(topology.CompareConsumer(have.CachedInfo().Config, c)) > 0:
			merged := topology.MergeConsumer(have.CachedInfo().Config, c.Config)
			d.pending = append(d.pending, topology.Consumer{Stream: c.Stream, Config: merged})
		}
	}
	return nil
}
