package provisioning

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/topology"
)

// Update updates existing streams and consumers that differ, and returns what it updated, also with an error. It
// creates and deletes nothing, and leaves the consumers of [ToRecreate]. The broker rejects some updates of streams
// (storage, retention, disabling message schedules); the error has the object.
func Update(ctx context.Context, js jetstream.JetStream, want topology.Set) (changed []string, err error) {
	ds, err := Compare(ctx, js, want)
	if err != nil {
		return nil, err
	}
	differs := map[string]bool{}
	for _, d := range ds {
		differs[d.Object] = !d.Missing && !d.Unwanted
	}
	for _, object := range ToRecreate(ds, nil) {
		differs[object] = false
	}
	for _, s := range want.Streams {
		if !differs[topology.StreamObject(s.Name)] {
			continue
		}
		have, err := js.Stream(ctx, s.Name)
		if err != nil {
			return changed, fmt.Errorf("reading stream %s: %w", s.Name, err)
		}
		if _, err := js.UpdateStream(ctx, topology.MergeStream(have.CachedInfo().Config, s)); err != nil {
			return changed, fmt.Errorf("updating stream %s: %w", s.Name, err)
		}
		changed = append(changed, topology.StreamObject(s.Name))
	}
	for _, c := range want.Consumers {
		object := c.Object()
		if !differs[object] {
			continue
		}
		have, err := js.Consumer(ctx, c.Stream, c.Config.Durable)
		if err != nil {
			return changed, fmt.Errorf("reading %s: %w", object, err)
		}
		cfg := topology.MergeConsumer(have.CachedInfo().Config, c.Config)
		if _, err := js.UpdateConsumer(ctx, c.Stream, cfg); err != nil {
			return changed, fmt.Errorf("updating %s: %w", object, err)
		}
		changed = append(changed, object)
	}
	return changed, nil
}
