package topology

import "github.com/nats-io/nats.go/jetstream"

// CompareStream and CompareConsumer apply the rules without a broker.
func CompareStream(have, want jetstream.StreamConfig) []Difference {
	return differences("stream", streamRules, have, want)
}

func CompareConsumer(have, want jetstream.ConsumerConfig) []Difference {
	return differences("consumer", consumerRules, have, want)
}

// OverStream and OverConsumer give what an update would send.
func OverStream(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	return over(streamRules, have, want)
}

func OverConsumer(have, want jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	return over(consumerRules, have, want)
}

// ComparedFields are the fields that a rule names, of streams and of consumers.
func ComparedFields() (streams, consumers []string) {
	for _, r := range streamRules {
		streams = append(streams, r.fields...)
	}
	for _, r := range consumerRules {
		consumers = append(consumers, r.fields...)
	}
	return streams, consumers
}
