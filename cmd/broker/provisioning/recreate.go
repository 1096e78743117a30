package provisioning

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/topology"
)

// ToRecreate returns the consumers that only recreating corrects, as [topology.Difference.Object]: those that differ in
// what the broker cannot change, and those with undelivered messages.
func ToRecreate(differences []topology.Difference, undelivered []Undelivered) []string {
	var objects []string
	for _, d := range differences {
		if d.Fixed {
			objects = append(objects, d.Object)
		}
	}
	for _, u := range undelivered {
		objects = append(objects, topology.ConsumerObject(u.Stream, u.Consumer))
	}
	slices.Sort(objects)
	return slices.Compact(objects)
}

// Recreate deletes and creates consumers of a set. They deliver all stored messages again, including those that a
// worker has or that wait for the end of a delay. It returns what it recreated.
func Recreate(ctx context.Context, js jetstream.JetStream, set topology.Set, objects []string) ([]string, error) {
	var recreated []string
	for _, c := range set.Consumers {
		object, cfg := c.Object(), c.Config
		if !slices.Contains(objects, object) {
			continue
		}
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
