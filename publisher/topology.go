package publisher

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema"
	"statusworker/schema/topology"
)

// DefaultMaxAge is the default maximum age of outcomes. It leaves time to fix a consumer of outcomes, and is far longer
// than a duplicate of a declared message can exist.
const DefaultMaxAge = 14 * 24 * time.Hour

// Choices are the settings of the outcomes stream that an operator may choose.
type Choices struct {
	Namespace schema.Namespace
	// Replicas is the number of replicas; 0 is 1.
	Replicas int
	// MaxAge is the age at which the broker deletes an outcome; 0 is no limit. [DefaultMaxAge] is the default of the
	// commands.
	MaxAge time.Duration
	// MaxBytes is the maximum size; 0 is no limit. At the limit the broker deletes the oldest outcomes, also those that
	// no consumer has read.
	MaxBytes int64
}

// Topology returns the outcomes stream. It does not allow direct gets: outcomes are read from the leader. It allows
// atomic batches if it is replicated. Without replicas, the broker stages each batch in files of its own, which it
// syncs to the disk: that costs more than two publishes.
func Topology(c Choices) topology.Set {
	return topology.Set{Streams: []jetstream.StreamConfig{{
		Name:        c.Namespace.StreamOutcomes(),
		Description: "Outcomes of interactions: processed events and dead letters",
		Subjects:    []string{c.Namespace.SubjectsProcessed(), c.Namespace.SubjectsFailed()},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      c.MaxAge,
		MaxBytes:    c.MaxBytes,
		Storage:     jetstream.FileStorage,
		Replicas:    max(c.Replicas, 1),

		AllowAtomicPublish: c.Replicas > 1,
	}}}
}
