package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// AwaitDrained waits until the streams of declared messages and of polls are empty: no declared message, reservation,
// due message or tombstone is stored. From then on nothing happens until an interaction is declared. A missing stream
// counts as empty.
func AwaitDrained(ctx context.Context, js jetstream.JetStream) error {
	return Eventually(ctx, "empty streams of declared messages and polls", func(ctx context.Context) error {
		left, err := Left(ctx, js)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("%d subjects have a message: %s; %s", len(left),
				strings.Join(left[:min(len(left), 10)], ", "), consumersOf(ctx, js, ns.StreamPolls()))
		}
		return nil
	})
}

// consumersOf describes the state of the consumers of a stream: it shows whether NATS will deliver what is stored.
func consumersOf(ctx context.Context, js jetstream.JetStream, stream string) string {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err.Error()
	}
	at := s.CachedInfo().State
	text := fmt.Sprintf("%s has %d messages from %d to %d", stream, at.Msgs, at.FirstSeq, at.LastSeq)
	consumers := s.ListConsumers(ctx)
	for c := range consumers.Info() {
		text += fmt.Sprintf(", %s delivered %d, acknowledged up to %d, pending %d, waiting for acks %d", c.Name,
			c.Delivered.Stream, c.AckFloor.Stream, c.NumPending, c.NumAckPending)
	}
	if err := consumers.Err(); err != nil {
		text += ", " + err.Error()
	}
	return text
}

// Left returns the subjects of the stored messages: first those of the stream of declared messages, then those of the
// stream of polls, each sorted.
func Left(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	var left []string
	for _, name := range []string{ns.StreamDeclared(), ns.StreamPolls()} {
		err := try(ctx, 2*time.Second, func(ctx context.Context) error {
			stream, err := js.Stream(ctx, name)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			if stream.CachedInfo().State.Msgs == 0 {
				return nil
			}
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
			if err != nil {
				return err
			}
			left = append(left, slices.Sorted(maps.Keys(info.State.Subjects))...)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading the subjects of %s: %w", name, err)
		}
	}
	return left, nil
}
