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
	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// running returns a server on a loopback port.
func running(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&o)
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
	return s
}

// full returns a broker whose stream of declared messages has room for 10.
func full(t *testing.T) jetstream.JetStream {
	t.Helper()
	s := running(t, server.Options{JetStream: true, StoreDir: t.TempDir()})
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

// A replicated broker rejects a message because of an earlier publish that it has not stored, and may lose when its
// leader changes. The message is declared only when the broker has acknowledged it, or the other one can be read.
func TestRejectedBecauseOfALostMessage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		stored   bool // the other message
		readable bool // lookups are allowed
		rejects  int
		want     Counts
	}{
		"the other one is lost":     {readable: true, rejects: 2, want: Counts{Read: 1, Declared: 1}},
		"the other one is stored":   {readable: true, stored: true, rejects: 100, want: Counts{Read: 1, Waiting: 1}},
		"it stays, and is not read": {readable: true, rejects: 1000, want: Counts{Read: 1, Waiting: 1}},
		"no permission to look up":  {rejects: 1000, want: Counts{Read: 1, Waiting: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := rejecting(t, test.rejects, test.stored)
			progress := NewProgress(&bytes.Buffer{}, 0)
			d := &Producer{js: js, timeout: 500 * time.Millisecond}
			if test.readable {
				d.places = places(ns)[:1]
			}
			line := fmt.Sprintf("{\"interactionIdentifier\":%q,\"type\":\"chat\"}\n", uuid.NewString())
			if err := d.Run(t.Context(), t.Context(), source.Lines(strings.NewReader(line)), progress); err != nil {
				t.Fatal(err)
			}
			progress.Close()
			if got := progress.Counts(); got != test.want {
				t.Errorf("counts %+v, want %+v", got, test.want)
			}
		})
	}
}

// rejecting returns a broker that rejects the first publishes because of another message. That one can be read after
// the first lookup if it is stored.
func rejecting(t *testing.T, rejects int, stored bool) jetstream.JetStream {
	t.Helper()
	s := running(t, server.Options{})
	connect := func() *nats.Conn {
		nc, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	broker := connect()
	publishes, lookups := 0, 0 // each subscription calls its handler in one goroutine
	respond := func(subject string, answer func(*nats.Msg) string) {
		_, err := broker.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(answer(m))) })
		if err != nil {
			t.Fatal(err)
		}
	}
	respond(ns.SubjectsDeclared(), func(*nats.Msg) string {
		if publishes++; publishes <= rejects {
			return fmt.Sprintf(`{"error":{"code":503,"err_code":%d,"description":%q}}`, storeFailed, tooManyOnSubject)
		}
		return fmt.Sprintf(`{"stream":%q,"seq":1}`, ns.StreamDeclared())
	})
	respond("$JS.API.STREAM.MSG.GET."+ns.StreamDeclared(), func(*nats.Msg) string {
		if lookups++; lookups > 1 && stored {
			return `{"message":{"subject":"interactions.declared.chat.x","seq":1,"time":"2026-01-02T03:04:05Z"}}`
		}
		return `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`
	})
	if err := broker.Flush(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(connect())
	if err != nil {
		t.Fatal(err)
	}
	return js
}
