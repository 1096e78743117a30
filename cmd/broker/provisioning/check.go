package provisioning

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// TopologyError describes why a worker cannot run on the broker's streams and consumers.
type TopologyError struct {
	// Differences is empty if nothing is provisioned.
	Differences []topology.Difference
	// Mode is the mode that the streams are provisioned for; empty if nothing is provisioned.
	Mode consumer.Mode
	// Config is the worker's configuration.
	Config consumer.Config
}

func (e *TopologyError) Error() string {
	if len(e.Differences) == 0 {
		return "the broker has no streams for statusworker"
	}
	lines := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		lines[i] = d.String()
	}
	return "the broker's streams and consumers differ from what a worker needs: " + strings.Join(lines, "; ")
}

// Detect returns the mode that the streams and consumers of a namespace are provisioned for. It returns "" if none
// exist, or if those that exist belong to both modes.
func Detect(ctx context.Context, js jetstream.JetStream, n schema.Namespace) (consumer.Mode, error) {
	_, err := js.Stream(ctx, n.StreamPolls())
	if err == nil {
		return consumer.Schedule, nil
	}
	if !Absent(err) {
		return "", fmt.Errorf("reading stream %s: %w", n.StreamPolls(), err)
	}
	for _, probe := range []struct {
		mode     consumer.Mode
		consumer string
	}{
		{consumer.Schedule, n.ConsumerIntake()},
		{consumer.Nak, n.PollConsumer(schema.Audio)},
		{consumer.Nak, n.PollConsumer(schema.Chat)},
		{consumer.Nak, n.PollConsumer(schema.Transcript)},
	} {
		_, err := js.Consumer(ctx, n.StreamDeclared(), probe.consumer)
		if err == nil {
			return probe.mode, nil
		}
		if !Absent(err) {
			return "", fmt.Errorf("reading consumer %s/%s: %w", n.StreamDeclared(), probe.consumer, err)
		}
	}
	declared, err := js.Stream(ctx, n.StreamDeclared())
	switch {
	case Absent(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading stream %s: %w", n.StreamDeclared(), err)
	case slices.Contains(declared.CachedInfo().Config.Subjects, n.DeclaredSubject(schema.Audio, "*")):
		return consumer.Nak, nil // with reservations, the stream has one subject for all types
	}
	return "", nil
}

// Check returns the mode if a worker of this configuration can run on the existing streams and consumers, its own and
// those of the other sets. It checks only what correctness depends on: replicas, ages of outcomes and limits are the
// operator's choice. The error is a [*TopologyError], or that of a failed request.
func Check(
	ctx context.Context, js jetstream.JetStream, cfg consumer.Config, others ...topology.Set,
) (consumer.Mode, error) {
	mode, err := Detect(ctx, js, cfg.Namespace)
	if err != nil {
		return "", err
	}
	if mode == "" {
		return "", &TopologyError{Config: cfg}
	}
	want := consumer.Topology(cfg, consumer.Choices{Mode: mode})
	for _, other := range others {
		want = want.Add(other)
	}
	ds, err := Compare(ctx, js, want)
	if err != nil {
		return "", err
	}
	if bad := slices.DeleteFunc(ds, func(d topology.Difference) bool { return d.Choice }); len(bad) > 0 {
		return "", &TopologyError{Differences: bad, Mode: mode, Config: cfg}
	}
	return mode, nil
}
