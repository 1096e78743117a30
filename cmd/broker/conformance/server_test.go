package conformance_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/embedded"
	"statusworker/schema/topology"
)

// server is an embedded NATS server, and a connection to it.
type server struct {
	js    jetstream.JetStream
	stop  func()
	start func() error
}

func newServer(t *testing.T) server {
	t.Helper()
	s, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return server{connect(t, s.URL()), s.Stop, s.StartAgain}
}

// newCluster makes three, of which one can make replicated streams.
func newCluster(t *testing.T) server {
	t.Helper()
	routes, err := embedded.FreePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	var js jetstream.JetStream
	for i, route := range routes {
		s, err := embedded.StartNode(t.TempDir(), embedded.Node{Name: fmt.Sprint("n", i), Route: route, Routes: routes})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		js = connect(t, s.URL())
	}
	for deadline := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "READY", Replicas: 3})
		cancel()
		if err == nil {
			return server{js: js}
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// limit is what a limited server stores at most, in memory and in files.
const limit = 1 << 20

// newLimitedServer makes one whose storage is bounded, which package embedded does not offer.
func newLimitedServer(t *testing.T) server {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true,
		JetStreamMaxMemory: limit, JetStreamMaxStore: limit,
		StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	return server{js: connect(t, s.ClientURL())}
}

func connect(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func onTheServer(t *testing.T, s server, i int, c testCase) *stage {
	prefix, streams := c.own(i)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	set := adapter.Topology(streams...)
	if _, err := topology.Create(ctx, s.js, set); err != nil {
		t.Fatal(err)
	}
	if set.Streams[0].Replicas > 1 {
		time.Sleep(2 * time.Second) // a new leader may say for a moment that there is no such stream
	}
	ballast := jetstream.StreamConfig{
		Name: prefix + "_BALLAST", Subjects: []string{prefix + "_ballast"}, Storage: set.Streams[0].Storage,
	}
	return &stage{
		T: t, Broker: adapter.New(s.js), ctx: ctx, prefix: prefix, stop: s.stop,
		start: func() {
			if err := s.start(); err != nil {
				t.Error(err)
			}
		},
		fill: func() {
			if _, err := s.js.CreateStream(ctx, ballast); err != nil {
				t.Fatal(err)
			}
			for size := limit / 4; size > 0; {
				if _, err := s.js.Publish(ctx, ballast.Subjects[0], make([]byte, size)); err != nil {
					size /= 2
				}
			}
		},
		free: func() {
			if err := s.js.DeleteStream(ctx, ballast.Name); err != nil {
				t.Error(err)
			}
		},
		// A server that is killed forgets what it has not written. Within this process none can be killed: the consumer
		// is made anew.
		forget: func(stream, consumer string) {
			for _, of := range set.Consumers {
				if of.Stream == stream && of.Config.Durable == consumer {
					if err := s.js.DeleteConsumer(ctx, stream, consumer); err != nil {
						t.Error(err)
					}
					if _, err := s.js.CreateConsumer(ctx, stream, of.Config); err != nil {
						t.Error(err)
					}
				}
			}
		},
	}
}
