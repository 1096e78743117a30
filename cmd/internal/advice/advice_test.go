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

// With redelivery nak, the command has the timing that the consumers depend on.
func TestProvisionCommand(t *testing.T) {
	for want, c := range map[string]struct {
		mode consumer.Mode
		cfg  consumer.Config
	}{
		"statusworker provision": {
			consumer.Schedule, consumer.Config{Intervals: consumer.Intervals{Audio: time.Minute}}},
		"statusworker provision --redelivery nak": {consumer.Nak, consumer.Config{}},
		"statusworker provision --redelivery nak --audio-interval 1m --transcript-interval 6s --request-timeout 5s": {
			consumer.Nak, consumer.Config{
				Intervals:      consumer.Intervals{Audio: time.Minute, Transcript: 6 * time.Second},
				RequestTimeout: 5 * time.Second,
			}},
		"statusworker provision --redelivery nak --chat-interval 1s --base-url URL": {
			consumer.Nak, consumer.Config{Intervals: consumer.Intervals{Chat: time.Second}}},
	} {
		if got := advice.ProvisionCommand(c.mode, c.cfg); got != want {
			t.Errorf("ProvisionCommand(%q, %+v) = %q, want %q", c.mode, c.cfg, got, want)
		}
	}
}

func TestTopology(t *testing.T) {
	missing := topology.Difference{Object: "stream S", Missing: true}
	differs := topology.Difference{Object: "stream T", Field: "replicas"}
	unwanted := topology.Difference{Object: "consumer S/c", Unwanted: true}
	unfit := func(mode consumer.Mode, ds ...topology.Difference) *provisioning.TopologyError {
		cfg := consumer.Config{}
		if mode == consumer.Nak {
			cfg.RequestTimeout = time.Second
		}
		return &provisioning.TopologyError{Mode: mode, Config: cfg, Differences: ds}
	}
	for name, c := range map[string]struct {
		err  *provisioning.TopologyError
		want []string
	}{
		"not provisioned": {&provisioning.TopologyError{}, []string{"`statusworker provision`"}},
		"missing":         {unfit(consumer.Schedule, missing), []string{missing.String(), "`statusworker provision`"}},
		"differs": {unfit(consumer.Nak, missing, differs), []string{
			missing.String(), differs.String(),
			"`statusworker provision --redelivery nak --request-timeout 1s --update`"}},
		"of both modes": {unfit(consumer.Schedule, missing, unwanted), []string{
			unwanted.String(), "redelivery nak", "docs/deploy.md"}},
	} {
		err := advice.Topology(fmt.Errorf("checking: %w", c.err))
		var found *provisioning.TopologyError
		if !errors.As(err, &found) || found != c.err {
			t.Errorf("%s: %v does not wrap the error", name, err)
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q lacks %q", name, err, part)
			}
		}
	}
	other := errors.New("another")
	if err := advice.Topology(other); !errors.Is(err, other) || err.Error() != other.Error() {
		t.Errorf("another error was changed to %v", err)
	}
}

func TestDeleted(t *testing.T) {
	deleted := &consumer.DeletedError{Stream: "S", Consumer: "c", Err: errors.New("not found")}
	cfg := consumer.Config{RequestTimeout: time.Second}
	err := advice.Deleted(fmt.Errorf("working: %w", deleted), consumer.Nak, cfg)
	if !errors.Is(err, deleted) {
		t.Errorf("%v does not wrap the error", err)
	}
	command := "`statusworker provision --redelivery nak --request-timeout 1s`"
	if !strings.Contains(err.Error(), command) {
		t.Errorf("%q lacks %s", err, command)
	}
	other := errors.New("another")
	err = advice.Deleted(other, consumer.Nak, cfg)
	if !errors.Is(err, other) || err.Error() != other.Error() {
		t.Errorf("another error was changed to %v", err)
	}
}
