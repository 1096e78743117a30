package main

import (
	"testing"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/embedded"
	"statusworker/consumer"
)

// A broker with the streams of `provision` stores the messages with which benchmarks begin.
func TestMessagesAreStored(t *testing.T) {
	server, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := openBroker(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	if err := b.provision(t.Context(), consumer.Schedule, consumer.Guidance, 1); err != nil {
		t.Fatal(err)
	}
	for name, message := range map[string]func(int) *nats.Msg{
		"declared": func(int) *nats.Msg { return declared() },
		"due":      due,
		"reserved": reserved,
	} {
		if err := b.fill(t.Context(), 1, 0, message); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
