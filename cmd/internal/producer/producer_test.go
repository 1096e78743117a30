package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/provisioning"
	"statusworker/cmd/internal/producer/source"
	"statusworker/consumer"
)

// full returns a broker whose stream of declared messages has room for 10.
func full(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	set := consumer.Topology(consumer.Config{}, consumer.Choices{Mode: consumer.Schedule, Replicas: 1,
		DeclaredMaxMsgs: 10})
	if _, err := provisioning.Create(t.Context(), js, set); err != nil {
		t.Fatal(err)
	}
	return js
}

func TestRunStopsIfTheBrokerAcceptsNothing(t *testing.T) {
	t.Parallel()
	js := full(t)
	var shown bytes.Buffer
	var input strings.Builder
	for range 5000 {
		fmt.Fprintf(&input, "{\"interactionIdentifier\":%q,\"type\":\"chat\"}\n", uuid.NewString())
	}
	progress := NewProgress(&shown, 0)
	d := &Producer{js: js, timeout: 200 * time.Millisecond}
	err := d.Run(t.Context(), t.Context(), source.Lines(strings.NewReader(input.String())), progress)
	progress.Close()
	if !errors.Is(err, ErrNotAccepted) {
		t.Fatalf("error %v, want ErrNotAccepted", err)
	}
	n := progress.Counts()
	if n.Declared != 10 || n.NotStored == 0 || n.Declared+n.NotStored != n.Read {
		t.Errorf("counts %+v: want 10 declared, and all others failed", n)
	}
	if n.Read > 2*window+2 {
		t.Errorf("%d read, want no more than fit into the windows", n.Read)
	}
	if have := strings.Count(shown.String(), ": not stored: "); have != n.NotStored || strings.Count(shown.String(),
		"\n") != n.NotStored+1 {
		t.Errorf("%d lines about %d failures:\n%.1000s", have, n.NotStored, &shown)
	}
}

// The broker rejects a message with this code if one is stored on its subject, or the stream is full. The texts differ.
const (
	storeFailed      jetstream.ErrorCode = 10077
	tooManyOnSubject                     = "maximum messages per subject exceeded"
)

func TestTransientErrors(t *testing.T) {
	t.Parallel()
	api := func(code int, errorCode jetstream.ErrorCode, text string) error {
		return fmt.Errorf("publishing: %w", &jetstream.APIError{Code: code, ErrorCode: errorCode, Description: text})
	}
	for _, test := range []struct {
		err                error
		transient, waiting bool
	}{
		{err: nil},
		{err: api(503, storeFailed, tooManyOnSubject), waiting: true},
		{err: api(503, storeFailed, "maximum messages exceeded"), transient: true},
		{err: api(503, storeFailed, "maximum bytes exceeded"), transient: true},
		{err: api(503, 10008, "JetStream system temporarily unavailable"), transient: true},
		{err: api(400, 10054, "message size exceeds maximum allowed")},
		{err: api(400, 10071, "wrong last sequence")},
		{err: jetstream.ErrAsyncPublishTimeout, transient: true},
		{err: jetstream.ErrNoStreamResponse, transient: true},
		{err: jetstream.ErrTooManyStalledMsgs, transient: true},
		{err: nats.ErrReconnectBufExceeded, transient: true},
		{err: nats.ErrDisconnected, transient: true},
		{err: nats.ErrTimeout, transient: true},
		{err: nats.ErrNoResponders, transient: true},
		{err: context.DeadlineExceeded, transient: true},
		{err: context.Canceled},
		{err: nats.ErrMaxPayload},
		{err: nats.ErrConnectionClosed},
	} {
		if got := transient(test.err); got != test.transient {
			t.Errorf("transient(%v) is %t", test.err, got)
		}
		if got := AlreadyWaiting(test.err); got != test.waiting {
			t.Errorf("AlreadyWaiting(%v) is %t", test.err, got)
		}
	}
}
