package publisher

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
	"statusworker/schema/topology"
)

// DefaultMaxAge is how long outcomes are kept: time enough to fix a consumer downstream, and far longer than a copy of
// a declared message can live on.
const DefaultMaxAge = 14 * 24 * time.Hour

// Choices are what an operator may choose about the outcomes stream.
type Choices struct {
	Replicas int
	MaxAge   time.Duration
	// MaxBytes is unlimited where it is 0. The oldest outcomes go first.
	MaxBytes int64
}

// Topology is the outcomes stream as it should be. It serves no direct gets: what is stored is read from the leader.
func Topology(c Choices) topology.Set {
	return topology.Set{Streams: []jetstream.StreamConfig{{
		Name:        schema.StreamOutcomes,
		Description: "What became of each interaction: processed events and dead letters",
		Subjects:    []string{schema.SubjectsProcessed, schema.SubjectsFailed},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      c.MaxAge,
		MaxBytes:    c.MaxBytes,
		Storage:     jetstream.FileStorage,
		Replicas:    max(c.Replicas, 1),
	}}}
}
