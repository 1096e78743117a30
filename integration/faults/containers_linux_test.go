package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
	tcwait "github.com/testcontainers/testcontainers-go/wait"

	"statusworker/integration/harness"
	"statusworker/statusclient/simulator"
)

// containers is an installation in containers: three NATS nodes with R3 streams, and workers of the product's image.
// The workers reach the nodes on one network, and the simulated vendor, which is part of this process, at the gateway
// of another.
type containers struct {
	run      *run
	t        testing.TB
	settings settings
	cluster  *harness.Cluster
	image    string
	outside  string // the network on which the workers reach the vendor
	gateway  netip.Addr
	secrets  string // a folder on this host, which the workers mount
	vendor   *simulator.Simulator
	nodes    []*box
	idle     usage // of a worker before the first interaction

	mu      sync.Mutex
	workers []*box
	started int                   // workers
	claims  map[string]bool       // see claim
	names   map[netip.Addr]string // of the workers, by their addresses on the vendor's network
}

// box is a container with what a fault needs to know about it.
type box struct {
	*harness.Container
	node bool
	// inside and outside are its addresses on the networks of the nodes and of the vendor, since it was last connected
	// to them. [containers.mu] guards them.
	inside, outside netip.Addr
}

const (
	tokenFile   = "token"
	trustedFile = "certificate.pem"
	secretsAt   = "/run/vendor"
	vendorHost  = "vendor"
)

// startContainers starts the nodes, the vendor and the workers.
func startContainers(r *run) tier {
	t := r.t
	t.Helper()
	harness.RequireLinks(t)
	c := &containers{
		run: r, t: t, settings: r.settings, image: harness.Product(t), secrets: t.TempDir(),
		claims: map[string]bool{}, names: map[netip.Addr]string{},
	}
	c.cluster = harness.StartCluster(t)
	ctx := harness.Context(t, 2*time.Minute)
	for _, n := range c.cluster.Nodes {
		b := &box{Container: n.Container, node: true}
		harness.Check(t, c.locate(ctx, b))
		c.nodes = append(c.nodes, b)
	}
	outside, err := network.New(ctx, network.WithLabels(harness.Labels(t)))
	testcontainers.CleanupNetwork(t, outside)
	harness.Check(t, err)
	c.outside = outside.Name
	c.gateway, err = harness.Gateway(ctx, c.outside)
	harness.Check(t, err)
	c.vendor, err = simulator.Start(simulator.Config{
		Addr: netip.AddrPortFrom(c.gateway, 0).String(), TLS: true, Hosts: []string{vendorHost},
	})
	harness.Check(t, err)
	t.Cleanup(c.vendor.Close)
	harness.Check(t, os.WriteFile(filepath.Join(c.secrets, trustedFile), c.vendor.CertificatePEM(), 0o644))
	harness.Check(t, c.writeToken(simulator.DefaultToken))
	harness.Check(t, c.provision(ctx))
	for range workers {
		w, err := c.startWorker(ctx)
		harness.Check(t, err)
		c.workers = append(c.workers, w)
		harness.Check(t, c.ready(ctx, w))
	}
	c.idle, err = c.usage(ctx, c.workers[0])
	harness.Check(t, err)
	return c
}

// Brokers is the addresses of the nodes on this host.
func (c *containers) Brokers() string { return c.cluster.URLs() }

// Vendor is the simulated vendor.
func (c *containers) Vendor() *simulator.Simulator { return c.vendor }

// environment returns the environment of the product's commands in containers.
func (c *containers) environment() map[string]string {
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, "nats://"+n.Name+":4222")
	}
	base, err := url.Parse(c.vendor.URL())
	harness.Check(c.t, err)
	base.Host = net.JoinHostPort(vendorHost, base.Port())
	env := map[string]string{
		"NATS_URL":                 strings.Join(urls, ","),
		"ELEVATEAI_BASE_URL":       base.String(),
		"ELEVATEAI_API_TOKEN_FILE": secretsAt + "/" + tokenFile,
		"ELEVATEAI_CA_FILE":        secretsAt + "/" + trustedFile,
	}
	for _, line := range c.settings.env() {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	return env
}

// request returns the request for a container of the product.
func (c *containers) request(networks []string, args ...string) testcontainers.ContainerRequest {
	return testcontainers.ContainerRequest{
		Image: c.image, Env: c.environment(), Cmd: args, Networks: networks, Labels: harness.Labels(c.t),
		HostConfigModifier: func(h *container.HostConfig) {
			// The most restrictive security settings.
			h.ReadonlyRootfs, h.CapDrop, h.SecurityOpt = true, []string{"ALL"}, []string{"no-new-privileges"}
			h.PortBindings = nil // no port of this host
			h.ExtraHosts = []string{vendorHost + ":" + c.gateway.String()}
			h.Mounts = append(h.Mounts, mount.Mount{
				Type: mount.TypeBind, Source: c.secrets, Target: secretsAt, ReadOnly: true,
			})
		},
	}
}

// provision runs `statusworker provision`, as an upgrade does first.
func (c *containers) provision(ctx context.Context) (err error) {
	mode := string(c.settings.mode)
	req := c.request([]string{c.cluster.Network}, "provision", "--redelivery", mode, "--replicas", "3")
	req.WaitingFor = tcwait.ForExit()
	p, err := harness.StartContainer(ctx, "provision", req)
	if p == nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Remove(context.WithoutCancel(ctx))) }()
	if err != nil {
		return err
	}
	state, err := p.State(ctx)
	if err == nil && state.ExitCode != 0 {
		log, _ := p.Log(ctx) // the exit code is the error
		err = fmt.Errorf("statusworker provision: exit code %d, want 0; output:\n%s", state.ExitCode, log)
	}
	return err
}

// startWorker starts another worker.
func (c *containers) startWorker(ctx context.Context) (*box, error) {
	c.mu.Lock()
	c.started++
	name := fmt.Sprintf("w%d", c.started)
	c.mu.Unlock()
	req := c.request([]string{c.cluster.Network, c.outside}, "run")
	req.NetworkAliases = map[string][]string{c.cluster.Network: {name}, c.outside: {name}}
	started, err := harness.StartContainer(ctx, name, req)
	if started != nil {
		c.t.Cleanup(func() { c.remove(started) })
	}
	if err != nil {
		return nil, err
	}
	b := &box{Container: started}
	return b, c.locate(ctx, b)
}

// remove removes a worker. When the test failed, it prints the end of its log.
func (c *containers) remove(w *harness.Container) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if c.t.Failed() {
		log, err := w.Log(ctx)
		c.t.Logf("worker %s, last lines of its log (%v):\n%s", w.Name, err, log[max(0, len(log)-20_000):])
	}
	if err := w.Remove(ctx); err != nil {
		c.t.Error(err)
	}
}

// locate updates the addresses of a container, after a start or a new connection to a network.
func (c *containers) locate(ctx context.Context, b *box) error {
	var outside netip.Addr
	inside, err := b.Address(ctx, c.cluster.Network)
	if err == nil && !b.node {
		outside, err = b.Address(ctx, c.outside)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b.inside, b.outside = inside, outside
	c.names[outside] = b.Name
	return nil
}

// addresses returns the addresses of a container on both networks.
func (c *containers) addresses(b *box) (inside, outside netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return b.inside, b.outside
}

// sender returns the name of the worker with an address on the vendor's network, or the address.
func (c *containers) sender(from netip.AddrPort) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name := c.names[from.Addr().Unmap()]; name != "" {
		return name
	}
	return from.Addr().String()
}

// longestWay is how long the kernel of a worker that is stopped may repeat a request.
const longestWay = 45 * time.Second

// hindered reports whether the link between the worker of the first poll and the vendor had a fault, and another fault
// hit this worker or the nodes before the second poll.
func (c *containers) hindered(first, second poll, faults []*event) bool {
	slow, hit := false, false
	for _, e := range faults {
		if e.from.After(second.at) || !e.to.IsZero() && e.to.Before(first.at.Add(-longestWay)) {
			continue
		}
		name, _, _ := strings.Cut(e.target, " ")
		switch {
		case e.kind.vendor && name == first.by:
			slow = slow || !e.from.After(first.at)
		case !e.kind.vendor:
			hit = hit || name == first.by || !strings.HasPrefix(e.kind.name, "worker")
		}
	}
	return slow && hit
}

// writeToken replaces the token file of all workers, in one step.
func (c *containers) writeToken(token string) error {
	file := filepath.Join(c.secrets, tokenFile)
	if err := os.WriteFile(file+".new", []byte(token+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
