package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	dockernet "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/testcontainers/testcontainers-go"

	"statusworker/cmd/broker/embedded"
)

// Server is one nats-server with JetStream in a container. It keeps its URL and its stored messages when it is killed
// and restarted. Its methods must not be called concurrently.
type Server struct {
	// Name is the server's name, as in the leader of a stream info or consumer info.
	Name string
	// URL is its address on the loopback interface.
	URL string

	container testcontainers.Container
	client    client.APIClient
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
	provider, err := engine()
	if err != nil {
		return nil, err
	}
	if _, err := reaper(); err != nil {
		return nil, err
	}
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
	c, err := testcontainers.GenericContainer(
		ctx,
		testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true},
	)
	if c != nil {
		t.Cleanup(func() { removeContainer(t, name, c) })
	}
	if err != nil {
		return nil, fmt.Errorf("starting NATS container %s: %w", name, err)
	}
	return &Server{
		Name:      name,
		URL:       fmt.Sprintf("nats://127.0.0.1:%d", port),
		container: c,
		client:    provider.Client(),
	}, nil
}

// Kill sends SIGKILL to the server and waits until it has exited.
func (s *Server) Kill(ctx context.Context) error {
	return s.end(ctx, "KILL")
}

// Stop sends SIGTERM to the server and waits until it has exited.
func (s *Server) Stop(ctx context.Context) error {
	return s.end(ctx, "TERM")
}

func (s *Server) end(ctx context.Context, signal string) error {
	id := s.container.GetContainerID()
	if _, err := s.client.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal}); err != nil {
		return fmt.Errorf("sending SIG%s to NATS server %s: %w", signal, s.Name, err)
	}
	wait := s.client.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case <-wait.Result:
		return nil
	case err := <-wait.Error:
		return fmt.Errorf("waiting for NATS server %s to exit: %w", s.Name, err)
	}
}

// Start starts a server that was killed or stopped, and waits until JetStream answers. In a cluster this requires a
// quorum. To start two of three nodes, use [Server.Launch] and then [Server.AwaitReady].
func (s *Server) Start(ctx context.Context) error {
	if err := s.Launch(ctx); err != nil {
		return err
	}
	return s.AwaitReady(ctx)
}

// Launch starts a server that was killed or stopped, and does not wait until it is ready.
func (s *Server) Launch(ctx context.Context) error {
	if _, err := s.client.ContainerStart(
		ctx,
		s.container.GetContainerID(),
		client.ContainerStartOptions{},
	); err != nil {
		return fmt.Errorf("restarting NATS server %s: %w", s.Name, err)
	}
	return nil
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

// Log returns what the server has printed so far.
func (s *Server) Log(ctx context.Context) (string, error) { return containerLog(ctx, s.container) }

func containerLog(ctx context.Context, c testcontainers.Container) (string, error) {
	r, err := c.Logs(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// removeContainer removes a container with its volume. When the test failed, it prints the end of the container's log.
func removeContainer(t testing.TB, name string, c testcontainers.Container) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if t.Failed() {
		log, err := containerLog(ctx, c)
		if err != nil {
			log += fmt.Sprintf("\n(reading the log: %v)", err)
		}
		log = routeErrors.ReplaceAllString(log, "")
		t.Logf("NATS server %s, last lines of its log:\n%s", name, lastLines(log, 60))
	}
	if err := c.Terminate(ctx, testcontainers.StopTimeout(0)); err != nil {
		t.Errorf("removing NATS container %s: %v", name, err)
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
