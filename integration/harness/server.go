package harness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	dockernet "github.com/moby/moby/api/types/network"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/testcontainers/testcontainers-go"

	"statusworker/cmd/broker/embedded"
)

// Server is one nats-server with JetStream in a container. It keeps its URL and its stored messages when it is killed
// and restarted. Its methods must not be called concurrently.
type Server struct {
	// The name of the container is the server's name, as in the leader of a stream info or consumer info.
	*Container
	// URL is its address on the loopback interface.
	URL string
}

// StartServer starts a server and waits until JetStream answers. Lines of nats-server configuration may be added,
// except for the server's name, ports and JetStream, which the harness configures. The server is removed when the test
// ends. When the test failed, its log is printed.
func StartServer(t testing.TB, config ...string) *Server {
	t.Helper()
	image := Image(t)
	ctx := Context(t, time.Minute)
	s, err := newServer(ctx, t, image, "n1", FreePorts(t, 1)[0], nil, config)
	Check(t, err)
	Check(t, s.AwaitReady(ctx))
	return s
}

// newServer creates and starts a container. It is safe for concurrent use.
func newServer(
	ctx context.Context,
	t testing.TB,
	image, name string,
	port int,
	network *testcontainers.DockerNetwork,
	config []string,
) (*Server, error) {
	lines := append([]string{
		"server_name: " + name,
		"port: 4222",
		// The address to which clients reconnect must be one that they can reach.
		fmt.Sprintf("client_advertise: \"127.0.0.1:%d\"", port),
		"jetstream { store_dir: /data }",
	}, config...)
	req := testcontainers.ContainerRequest{
		Image:        image,
		Cmd:          []string{"-c", "/nats.conf"},
		ExposedPorts: []string{"4222/tcp"},
		Labels:       Labels(t),
		Files: []testcontainers.ContainerFile{{
			Reader:            strings.NewReader(strings.Join(lines, "\n") + "\n"),
			ContainerFilePath: "/nats.conf",
			FileMode:          0o644,
		}},
		HostConfigModifier: func(h *container.HostConfig) {
			h.PortBindings = dockernet.PortMap{dockernet.MustParsePort("4222/tcp"): {
				{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: strconv.Itoa(port)},
			}}
			// An anonymous volume survives a kill, and is removed with the container.
			h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeVolume, Target: "/data"})
		},
	}
	if network != nil {
		req.Networks = []string{network.Name}
		req.NetworkAliases = map[string][]string{network.Name: {name}}
	}
	c, err := StartContainer(ctx, name, req)
	if c != nil {
		t.Cleanup(func() { removeContainer(t, c) })
	}
	if err != nil {
		return nil, err
	}
	return &Server{Container: c, URL: fmt.Sprintf("nats://127.0.0.1:%d", port)}, nil
}

// Start starts a server that was killed or stopped, and waits until JetStream answers. In a cluster this requires a
// quorum. To start two of three nodes, use [Container.Launch] and then [Server.AwaitReady].
func (s *Server) Start(ctx context.Context) error {
	if err := s.Launch(ctx); err != nil {
		return err
	}
	return s.AwaitReady(ctx)
}

// AwaitReady waits until the server's JetStream answers. In a cluster it answers when the cluster has a leader.
func (s *Server) AwaitReady(ctx context.Context) error {
	return Eventually(ctx, "JetStream on NATS server "+s.Name, func(ctx context.Context) error {
		return try(ctx, time.Second, func(ctx context.Context) error {
			// Each attempt opens a new connection, so that it cannot use a connection from before a restart. The
			// timeout is short, because the engine accepts connections before the server listens.
			nc, err := nats.Connect(
				s.URL,
				nats.NoReconnect(),
				nats.Timeout(250*time.Millisecond),
				nats.IgnoreDiscoveredServers(),
			)
			if errors.Is(err, nats.ErrAuthorization) {
				return nil // the server answers, but the harness has no credentials
			}
			if err != nil {
				return err
			}
			defer nc.Close()
			js, err := jetstream.New(nc)
			if err != nil {
				return err
			}
			_, err = js.AccountInfo(ctx)
			return err
		})
	})
}

// removeContainer removes a NATS container with its volume. When the test failed, it prints the end of its log.
func removeContainer(t testing.TB, c *Container) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if t.Failed() {
		log, err := c.Log(ctx)
		if err != nil {
			log += fmt.Sprintf("\n(reading the log: %v)", err)
		}
		log = routeErrors.ReplaceAllString(log, "")
		t.Logf("NATS server %s, last lines of its log:\n%s", c.Name, lastLines(log, 60))
	}
	if err := c.Remove(ctx); err != nil {
		t.Error(err)
	}
}

// routeErrors matches the lines that a node of a cluster prints all the time while another one is down.
var routeErrors = regexp.MustCompile(`(?m)^.*Error trying to connect to route.*\n`)

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Connect returns a connection that reconnects after any outage of the broker, and is closed when the test ends.
func Connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{
		nats.Name("test"), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond), nats.RetryOnFailedConnect(true),
	}, opts...)
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatalf("connecting to NATS at %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// JetStream returns JetStream on a connection made by [Connect].
func JetStream(t testing.TB, url string, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(Connect(t, url, opts...))
	Check(t, err)
	return js
}

// FreePorts calls [embedded.FreePorts], and ends the test on an error.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports, err := embedded.FreePorts(n)
	Check(t, err)
	return ports
}
