// Package topology describes streams and consumers as data. It compares two configurations of one, and knows the faults
// of versions of nats-server. It does no I/O. The packages that use streams and consumers say which ones they need;
// cmd/broker/provisioning reads, creates and updates them.
package topology

import (
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Consumer is a consumer that there should be.
type Consumer struct {
	Stream string
	Config jetstream.ConsumerConfig
}

// Object names the consumer as [Difference] does.
func (c Consumer) Object() string { return ConsumerObject(c.Stream, c.Config.Durable) }

// Set is what there should be. Streams come before consumers.
type Set struct {
	Streams   []jetstream.StreamConfig
	Consumers []Consumer
	// Unwanted consumers prevent the others from working. Only Stream and Config.Durable are set.
	Unwanted []Consumer
}

// Add gives the union of both.
func (s Set) Add(other Set) Set {
	return Set{
		Streams:   slices.Concat(s.Streams, other.Streams),
		Consumers: slices.Concat(s.Consumers, other.Consumers),
		Unwanted:  slices.Concat(s.Unwanted, other.Unwanted),
	}
}

// Difference is one thing that is not as it should be.
type Difference struct {
	// Object is `stream NAME` or `consumer STREAM/NAME`.
	Object string
	// Field is what differs; empty where the whole object is missing or unwanted.
	Field string
	Have  string
	Want  string
	// Missing says that the object is not there, Unwanted that it is and should not be.
	Missing  bool
	Unwanted bool
	// Choice marks a field that operators may set as they like: a worker runs on either. Risk marks a choice that
	// weakens a promise.
	Choice bool
	Risk   bool
}

func (d Difference) String() string {
	switch {
	case d.Missing:
		return d.Object + ": is missing"
	case d.Unwanted:
		return d.Object + ": must not be there"
	}
	return fmt.Sprintf("%s: %s is %s, should be %s", d.Object, d.Field, d.Have, d.Want)
}

// StreamObject and ConsumerObject name an object as [Difference] does.
func StreamObject(name string) string           { return "stream " + name }
func ConsumerObject(stream, name string) string { return "consumer " + stream + "/" + name }

// CompareStream returns what differs between two configurations of a stream.
func CompareStream(have, want jetstream.StreamConfig) []Difference {
	return differences(StreamObject(want.Name), streamRules, have, want)
}

// CompareConsumer returns what differs between a consumer's configuration and the wanted one.
func CompareConsumer(have jetstream.ConsumerConfig, want Consumer) []Difference {
	return differences(want.Object(), consumerRules, have, want.Config)
}

// MergeStream returns have with every field that differs set as in want: the configuration for an update. Fields that
// the comparison ignores stay as they are, except the description.
func MergeStream(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	cfg := over(streamRules, have, want)
	cfg.Description = want.Description
	if cfg.MaxAge > 0 { // the broker refuses a longer window
		cfg.Duplicates = min(cfg.Duplicates, cfg.MaxAge)
	}
	return cfg
}

// MergeConsumer returns have with every field that differs set as in want: the configuration for an update.
func MergeConsumer(have, want jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	return over(consumerRules, have, want)
}
