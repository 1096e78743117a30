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

// TopologyError says that a worker cannot run on the broker's streams and consumers, and why.
type TopologyError struct {
	// Differences are empty where nothing was provisioned at all.
	Differences []topology.Difference
	// Mode is the mode that the streams are made for; empty where nothing was provisioned.
	Mode consumer.Mode
	// Config is the worker's.
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
	return "the broker's streams do not fit: " + strings.Join(lines, "; ")
}

// Detect tells which mode the streams and consumers are made for. It is empty where none exist, or none that only one
// mode has.
func Detect(ctx context.Context, js jetstream.JetStream) (consumer.Mode, error) {
	_, err := js.Stream(ctx, schema.StreamPolls)
	if err == nil {
		return consumer.Schedule, nil
	}
	if !Absent(err) {
		return "", fmt.Errorf("reading stream %s: %w", schema.StreamPolls, err)
	}
	for _, probe := range []struct {
		mode     consumer.Mode
		consumer string
	}{
		{consumer.Schedule, schema.ConsumerIntake},
		{consumer.Nak, schema.PollConsumer(schema.Audio)},
		{consumer.Nak, schema.PollConsumer(schema.Chat)},
		{consumer.Nak, schema.PollConsumer(schema.Transcript)},
	} {
		_, err := js.Consumer(ctx, schema.StreamDeclared, probe.consumer)
		if err == nil {
			return probe.mode, nil
		}
		if !Absent(err) {
			return "", fmt.Errorf("reading consumer %s/%s: %w", schema.StreamDeclared, probe.consumer, err)
		}
	}
	declared, err := js.Stream(ctx, schema.StreamDeclared)
	switch {
	case Absent(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading stream %s: %w", schema.StreamDeclared, err)
	case slices.Contains(declared.CachedInfo().Config.Subjects, schema.DeclaredSubject(schema.Audio, "*")):
		return consumer.Nak, nil // reservations take all types
	}
	return "", nil
}

// Check finds out the mode, and whether a worker of this configuration can run on the streams and consumers that exist,
// its own and those of the other sets. It reports only what correctness depends on: replicas, ages of outcomes and
// limits are the operator's choice. The error is a [*TopologyError], or says that the broker could not be asked.
func Check(
	ctx context.Context, js jetstream.JetStream, cfg consumer.Config, others ...topology.Set,
) (consumer.Mode, error) {
	mode, err := Detect(ctx, js)
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
