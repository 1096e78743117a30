package topology_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/schema/topology"
)

func TestRefused(t *testing.T) {
	for code, want := range map[jetstream.ErrorCode]bool{
		10071: true,  // wrong last sequence: N
		10164: true,  // wrong last sequence, while another publish is on its way
		10060: false, // the expected stream does not match
		10070: false, // wrong last message id
		10158: false, // a duplicate is on its way
		10077: false, // maximum messages exceeded
		0:     false,
	} {
		err := error(&jetstream.APIError{Code: 400, ErrorCode: code})
		for _, e := range []error{err, fmt.Errorf("publishing: %w", err), errors.Join(errors.New("another"), err)} {
			if got := topology.Refused(e); got != want {
				t.Errorf("Refused(%v) = %t with error code %d", e, got, code)
			}
		}
	}
	for _, err := range []error{nil, errors.New("wrong last sequence: 7"), jetstream.ErrNoStreamResponse} {
		if topology.Refused(err) {
			t.Errorf("Refused(%v)", err)
		}
	}
}

// What Waits goes by is the broker's own.
func TestWaitsGoesByTheWordsOfTheBroker(t *testing.T) {
	refusal := func(text string) error {
		return fmt.Errorf(
			"publishing: %w",
			&jetstream.APIError{
				Code:        503,
				ErrorCode:   jetstream.ErrorCode(server.JSStreamStoreFailedF),
				Description: text,
			},
		)
	}
	if err := refusal(server.ErrMaxMsgsPerSubject.Error()); !topology.Waits(err) {
		t.Errorf("Waits(%v) is false", err)
	}
	for _, err := range []error{nil, refusal(server.ErrMaxMsgs.Error()), errors.New(server.ErrMaxMsgsPerSubject.Error())} {
		if topology.Waits(err) {
			t.Errorf("Waits(%v)", err)
		}
	}
}

// A real refusal, from a broker.
func TestRefusedByABroker(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	nc, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		_, err := js.Publish(ctx, "s.1", nil, jetstream.WithExpectLastSequencePerSubject(0))
		if topology.Refused(err) != want || (err != nil) != want {
			t.Errorf("publish %d gave %v", i, err)
		}
	}
	if _, err := js.Publish(ctx, "s.1", nil, jetstream.WithExpectStream("T")); err == nil || topology.Refused(err) {
		t.Errorf("a publish to another stream gave %v", err)
	}
}
