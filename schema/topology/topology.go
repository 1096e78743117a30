// Package topology describes streams and consumers as data, compares their configurations, and knows the faults of
// versions of nats-server. It does no I/O. Of nats.go it uses only the types of configurations.
//
// The packages that use streams and consumers describe what they need; cmd/broker/provisioning reads, creates and
// updates them.
package topology

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Consumer is a consumer that must exist.
type Consumer struct {
	Stream string
	Config jetstream.ConsumerConfig
}

// Object returns the name of the consumer as in [Difference.Object].
func (c Consumer) Object() string { return ConsumerObject(c.Stream, c.Config.Durable) }

// Set is the streams and consumers that must exist. Create the streams before the consumers.
type Set struct {
	Streams   []jetstream.StreamConfig
	Consumers []Consumer
	// Unwanted are consumers that must not exist, because they prevent the others from working. Only Stream and
	// Config.Durable are set.
	Unwanted []Consumer
}

// Add returns the union of both.
func (s Set) Add(other Set) Set {
	return Set{
		Streams:   slices.Concat(s.Streams, other.Streams),
		Consumers: slices.Concat(s.Consumers, other.Consumers),
		Unwanted:  slices.Concat(s.Unwanted, other.Unwanted),
	}
}

// Difference is a difference between an existing and a described stream or consumer.
type Difference struct {
	// Object is `stream NAME` or `consumer STREAM/NAME`.
	Object string
	// Field is the property that differs; empty with Missing and Unwanted.
	Field string
	Have  string
	Want  string
	// Missing reports that the object does not exist, Unwanted that it exists and must not.
	Missing  bool
	Unwanted bool
	// Choice reports that the operator may keep the property: a worker runs with either value. Risk reports that the
	// existing value weakens a guarantee.
	Choice bool
	Risk   bool
	// Fixed reports that the broker cannot change the property of an existing consumer: it must be recreated.
	Fixed bool
}

func (d Difference) String() string {
	switch {
	case d.Missing:
		return d.Object + ": is missing"
	case d.Unwanted:
		return d.Object + ": must not exist"
	}
	return fmt.Sprintf("%s: %s is %s, should be %s", d.Object, d.Field, d.Have, d.Want)
}

// StreamObject returns the [Difference.Object] of a stream.
func StreamObject(name string) string { return "stream " + name }

// ConsumerObject returns the [Difference.Object] of a consumer.
func ConsumerObject(stream, name string) string { return "consumer " + stream + "/" + name }

// CompareStream returns the differences between two configurations of a stream.
func CompareStream(have, want jetstream.StreamConfig) []Difference {
	return differences(StreamObject(want.Name), streamRules, have, want)
}

// CompareConsumer returns the differences between a consumer's configuration and the wanted one.
func CompareConsumer(have jetstream.ConsumerConfig, want Consumer) []Difference {
	return differences(want.Object(), consumerRules, have, want.Config)
}

// MergeStream returns have with every differing field set as in want: the configuration for an update. Fields that the
// comparison ignores stay unchanged, except the description.
func MergeStream(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	cfg := merge(streamRules, have, want)
	cfg.Description = want.Description
	if cfg.MaxAge > 0 { // the broker rejects a longer duplicate window
		cfg.Duplicates = min(cfg.Duplicates, cfg.MaxAge)
	}
	return cfg
}

// MergeConsumer returns have with every differing field set as in want: the configuration for an update.
func MergeConsumer(have, want jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	return merge(consumerRules, have, want)
}
