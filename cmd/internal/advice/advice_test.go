package advice_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/advice"
	"statusworker/consumer"
	"statusworker/schema/topology"
)

// The consumers for naks depend on the worker's timing, so that the command which fixes them has to say it.
func TestProvisionCommand(t *testing.T) {
	for want, c := range map[string]struct {
		mode consumer.Mode
		cfg  consumer.Config
	}{
		"statusworker provision":                  {consumer.Schedule, consumer.Config{Intervals: consumer.Intervals{Audio: time.Minute}}},
		"statusworker provision --redelivery nak": {consumer.Nak, consumer.Config{}},
		"statusworker provision --redelivery nak --audio-interval 1m --transcript-interval 6s --request-timeout 5s": {
			consumer.Nak, consumer.Config{Intervals: consumer.Intervals{Audio: time.Minute, Transcript: 6 * time.Second}, RequestTimeout: 5 * time.Second}},
		"statusworker provision --redelivery nak --chat-interval 1s --base-url URL": {
			consumer.Nak, consumer.Config{Intervals: consumer.Intervals{Chat: time.Second}}},
	} {
		if got := advice.ProvisionCommand(c.mode, c.cfg); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

func TestTopology(t *testing.T) {
	missing := topology.Difference{Object: "stream S", Missing: true}
	differs := topology.Difference{Object: "stream T", Field: "replicas"}
	unwanted := topology.Difference{Object: "consumer S/c", Unwanted: true}
	for name, c := range map[string]struct {
		err  *provisioning.TopologyError
		want []string
	}{
		"nothing": {&provisioning.TopologyError{}, []string{"`statusworker provision`"}},
		"missing": {&provisioning.TopologyError{Mode: consumer.Schedule, Differences: []topology.Difference{missing}},
			[]string{missing.String(), "`statusworker provision`"}},
		"differs": {&provisioning.TopologyError{
			Mode: consumer.Nak, Config: consumer.Config{RequestTimeout: time.Second}, Differences: []topology.Difference{missing, differs}},
			[]string{missing.String(), differs.String(), "`statusworker provision --redelivery nak --request-timeout 1s --update`"}},
		"of both modes": {&provisioning.TopologyError{Mode: consumer.Schedule, Differences: []topology.Difference{missing, unwanted}},
			[]string{unwanted.String(), "stop the workers", "`statusworker provision`"}},
	} {
		err := advice.Topology(fmt.Errorf("checking: %w", c.err))
		var unfit *provisioning.TopologyError
		if !errors.As(err, &unfit) || unfit != c.err {
			t.Errorf("%s: %v does not wrap the error", name, err)
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q lacks %q", name, err, part)
			}
		}
	}
	other := errors.New("another")
	if err := advice.Topology(other); err != other {
		t.Errorf("another error became %v", err)
	}
}

func TestDeleted(t *testing.T) {
	deleted := &consumer.DeletedError{Stream: "S", Consumer: "c", Err: errors.New("not found")}
	err := advice.Deleted(fmt.Errorf("working: %w", deleted), consumer.Nak, consumer.Config{RequestTimeout: time.Second})
	if !errors.Is(err, deleted) {
		t.Errorf("%v does not wrap the error", err)
	}
	if command := "`statusworker provision --redelivery nak --request-timeout 1s`"; !strings.Contains(err.Error(), command) {
		t.Errorf("%q lacks %s", err, command)
	}
	other := errors.New("another")
	if err := advice.Deleted(other, consumer.Nak, consumer.Config{}); err != other {
		t.Errorf("another error became %v", err)
	}
}
