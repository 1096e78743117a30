// Package provisioning reads, creates, updates and inspects the streams and consumers of a broker.
package provisioning

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/topology"
)

// Compare returns what differs from a set, in its order. It changes nothing. An error means that a request failed.
func Compare(ctx context.Context, js jetstream.JetStream, want topology.Set) ([]topology.Difference, error) {
	var ds []topology.Difference
	for _, s := range want.Streams {
		have, err := js.Stream(ctx, s.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			ds = append(ds, topology.Difference{Object: topology.StreamObject(s.Name), Missing: true})
		case err != nil:
			return nil, fmt.Errorf("reading stream %s: %w", s.Name, err)
		default:
			ds = append(ds, topology.CompareStream(have.CachedInfo().Config, s)...)
		}
	}
	for _, m := range want.Messages {
		exists, _, err := stored(ctx, js, m)
		if err != nil {
			return nil, err
		}
		if !exists {
			ds = append(ds, topology.Difference{Object: m.Object(), Missing: true, Choice: true})
		}
	}
	for _, c := range want.Consumers {
		object := c.Object()
		have, err := js.Consumer(ctx, c.Stream, c.Config.Durable)
		switch {
		case Absent(err):
			ds = append(ds, topology.Difference{Object: object, Missing: true})
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", object, err)
		default:
			ds = append(ds, topology.CompareConsumer(have.CachedInfo().Config, c)...)
		}
	}
	for _, c := range want.Unwanted {
		object := c.Object()
		_, err := js.Consumer(ctx, c.Stream, c.Config.Durable)
		switch {
		case Absent(err):
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", object, err)
		default:
			ds = append(ds, topology.Difference{Object: object, Unwanted: true})
		}
	}
	return ds, nil
}

// Absent reports whether an error means that the stream or consumer does not exist.
func Absent(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
}
