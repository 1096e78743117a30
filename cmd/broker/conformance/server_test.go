package conformance_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/provisioning"
)

// server is an embedded NATS server with a connection.
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

// newCluster starts three servers, and waits until they can create replicated streams.
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
	return server{js: replicating(t, js)}
}

// replicating waits until replicated streams can be created.
func replicating(t *testing.T, js jetstream.JetStream) jetstream.JetStream {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "READY", Replicas: 3})
		cancel()
		if err == nil {
			return js
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// limit is the storage limit of a limited server in bytes, for memory and for files.
const limit = 1 << 20

// newLimitedServer starts a server with limited storage. Package embedded cannot limit memory.
func newLimitedServer(t *testing.T) server {
	t.Helper()
	s := runServer(t, &natsserver.Options{JetStreamMaxMemory: limit, JetStreamMaxStore: limit})
	return server{js: connect(t, s.ClientURL())}
}

// newLimitedCluster starts three servers with a limit of the account.
func newLimitedCluster(t *testing.T) server {
	t.Helper()
	ports, err := embedded.FreePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	var routes []*url.URL
	for _, port := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	var js jetstream.JetStream
	for i, port := range ports {
		s := runServer(t, &natsserver.Options{
			ServerName: fmt.Sprint("n", i), Routes: routes,
			Cluster: natsserver.ClusterOpts{Name: "limited", Host: "127.0.0.1", Port: port},
		})
		err := s.GlobalAccount().UpdateJetStreamLimits(map[string]natsserver.JetStreamAccountLimits{
			"": {MaxMemory: limit, MaxStore: limit, MaxStreams: -1, MaxConsumers: -1},
		})
		if err != nil {
			t.Fatal(err)
		}
		js = connect(t, s.ClientURL())
	}
	return server{js: replicating(t, js)}
}

func runServer(t *testing.T, o *natsserver.Options) *natsserver.Server {
	t.Helper()
	o.Host, o.Port, o.JetStream, o.StoreDir = "127.0.0.1", natsserver.RANDOM_PORT, true, t.TempDir()
	o.NoSigs, o.NoLog = true, true
	s, err := natsserver.NewServer(o)
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
	return s
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
	if _, err := provisioning.Create(ctx, s.js, set); err != nil {
		t.Fatal(err)
	}
	if set.Streams[0].Replicas > 1 {
		time.Sleep(2 * time.Second) // a new leader can answer for a short time that the stream does not exist
	}
	ballast := jetstream.StreamConfig{
		Name: prefix + "_BALLAST", Subjects: []string{prefix + "_ballast"}, Storage: set.Streams[0].Storage,
		Replicas: set.Streams[0].Replicas,
	}
	return &stage{
		T: t, Broker: adapter.New(s.js), ctx: ctx, prefix: prefix, stop: s.stop,
		inCluster: set.Streams[0].Replicas > 1,
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
		// A killed server loses what it has not written. A server in this process cannot be killed, so the consumer is
		// recreated instead.
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
