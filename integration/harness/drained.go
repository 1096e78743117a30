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

// AwaitDrained waits until nothing is left in the streams of declared messages and of polls: no declared message, no
// reservation, no due message, no tombstone. Nothing can happen after that unless something is declared. A stream that
// does not exist counts as empty.
func AwaitDrained(ctx context.Context, js jetstream.JetStream) error {
	return Eventually(ctx, "empty streams of declared messages and polls", func(ctx context.Context) error {
		left, err := Left(ctx, js)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf(
				"%d subjects still hold a message: %s",
				len(left),
				strings.Join(left[:min(len(left), 10)], ", "),
			)
		}
		return nil
	})
}

// Left lists the subjects, in order, on which the streams of declared messages and of polls still hold a message.
func Left(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	var left []string
	for _, name := range []string{schema.StreamDeclared, schema.StreamPolls} {
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
			return nil, fmt.Errorf("looking into %s: %w", name, err)
		}
	}
	return left, nil
}
