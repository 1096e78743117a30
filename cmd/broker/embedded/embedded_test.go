package embedded_test

import (
	"context"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
)

func start(t *testing.T, folder string, port int) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(folder, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func connect(t *testing.T, s *embedded.Server) (context.Context, *nats.Conn, jetstream.JetStream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	nc, err := nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, nc, js
}

// messages returns how many messages the stream S has.
func messages(ctx context.Context, t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	s, err := js.Stream(ctx, "S")
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func TestReceived(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), 0)
	_, nc, _ := connect(t, s)
	const sent = 3
	for range sent {
		if err := nc.Publish("a", nil); err != nil {
			t.Fatal(err)
		}
	}
	// The server counts the messages of one read before the next read: the second flush waits for the count.
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Received(); err != nil || n != sent {
		t.Errorf("received %d messages, %v, want %d", n, err, sent)
	}
}

func TestServersAreIndependent(t *testing.T) {
	t.Parallel()
	one, two := start(t, t.TempDir(), 0), start(t, t.TempDir(), 0)
	if one.URL() == two.URL() {
		t.Fatalf("both servers have the URL %s", one.URL())
	}
	for _, s := range []*embedded.Server{one, two} {
		u, err := url.Parse(s.URL())
		if err != nil || u.Hostname() != "127.0.0.1" {
			t.Errorf("URL %s (%v), want a loopback address", s.URL(), err)
		}
	}
	ctx, _, js := connect(t, one)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S"}); err != nil {
		t.Fatal(err)
	}
	ctx, _, js = connect(t, two)
	if _, err := js.Stream(ctx, "S"); err == nil {
		t.Error("a stream of one server exists on the other")
	}
}

// A restarted server keeps its address and its streams, and its clients reconnect.
func TestRestartKeepsAddressAndStreams(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := start(t, folder, 0)
	at := s.URL()
	ctx, nc, js := connect(t, s)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	restarts := []func() error{
		s.Restart,
		func() error { s.Stop(); return s.StartAgain() },
		s.Restart,
	}
	for i, restart := range restarts {
		if _, err := js.Publish(ctx, "s", nil); err != nil {
			t.Fatal(err)
		}
		back := nc.StatusChanged(nats.CONNECTED)
		if err := restart(); err != nil {
			t.Fatal(err)
		}
		if s.URL() != at {
			t.Errorf("URL %s after restart %d, want %s", s.URL(), i+1, at)
		}
		select {
		case <-back:
		case <-ctx.Done():
			t.Fatalf("the client did not reconnect after restart %d", i+1)
		}
		if n := messages(ctx, t, js); n != uint64(i+1) {
			t.Errorf("%d messages after restart %d, want %d", n, i+1, i+1)
		}
	}

	// Another server takes over the folder and the port.
	s.Stop()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	heir := start(t, folder, port)
	if heir.URL() != at {
		t.Errorf("URL %s of a server on port %d, want %s", heir.URL(), port, at)
	}
	ctx, _, js = connect(t, heir)
	if n := messages(ctx, t, js); n != uint64(len(restarts)) {
		t.Errorf("%d messages in the next server with this folder, want %d", n, len(restarts))
	}
}

// Three nodes form a cluster that stores messages while one of them is stopped.
func TestClusterOfThree(t *testing.T) {
	t.Parallel()
	routes, err := embedded.FreePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []*embedded.Server
	for i, route := range routes {
		node := embedded.Node{Name: "n" + strconv.Itoa(i), Route: route, Routes: routes}
		s, err := embedded.StartNode(t.TempDir(), node)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		nodes = append(nodes, s)
	}
	ctx, _, js := connect(t, nodes[0])
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.CreateStream(attempt, jetstream.StreamConfig{Name: "S", Replicas: 3})
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	nodes[2].Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.Publish(attempt, "S", nil)
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
