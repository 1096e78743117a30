package provisioning

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/topology"
)

// Redeliver deletes and recreates the consumers of a set that have undelivered messages. They deliver all stored
// messages again, including those that a worker has or that wait for the end of a delay. It returns what it recreated.
func Redeliver(
	ctx context.Context, js jetstream.JetStream, set topology.Set, undelivered []Undelivered,
) ([]string, error) {
	var recreated []string
	for _, c := range set.Consumers {
		affected := func(u Undelivered) bool { return u.Stream == c.Stream && u.Consumer == c.Config.Durable }
		if !slices.ContainsFunc(undelivered, affected) {
			continue
		}
		object, cfg := c.Object(), c.Config
		have, err := js.Consumer(ctx, c.Stream, c.Config.Durable)
		switch {
		case err == nil:
			cfg = topology.MergeConsumer(have.CachedInfo().Config, c.Config)
		case !Absent(err):
			return recreated, fmt.Errorf("reading %s: %w", object, err)
		}
		if err := js.DeleteConsumer(ctx, c.Stream, c.Config.Durable); err != nil && !Absent(err) {
			return recreated, fmt.Errorf("deleting %s: %w", object, err)
		}
		if _, err := js.CreateConsumer(ctx, c.Stream, cfg); err != nil {
			return recreated, fmt.Errorf("creating %s: %w", object, err)
		}
		recreated = append(recreated, object)
	}
	return recreated, nil
}
