package topology

// ComparedFields returns the fields that a rule names, of streams and of consumers.
func ComparedFields() (streams, consumers []string) {
	for _, r := range streamRules {
		streams = append(streams, r.fields...)
	}
	for _, r := range consumerRules {
		consumers = append(consumers, r.fields...)
	}
	return streams, consumers
}
