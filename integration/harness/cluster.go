package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
)

// Cluster is three NATS servers in a cluster. Its nodes are killed and started one by one.
type Cluster struct {
	Nodes []*Server
	// Network is the name of the container network of the nodes. A node's host name in it is its name.
	Network string

	nc *nats.Conn
	js jetstream.JetStream
}

// StartCluster starts three servers and waits until each of them knows the JetStream leader. Lines of configuration may
// be added, as for [StartServer]. The cluster is removed when the test ends.
func StartCluster(t testing.TB, config ...string) *Cluster {
	t.Helper()
	image := Image(t)
	ctx := Context(t, 2*time.Minute)
	net, err := network.New(ctx, network.WithLabels(Labels(t)))
	testcontainers.CleanupNetwork(t, net)
	Check(t, err)

	const size = 3
	var names, routes []string
	for i := range size {
		names = append(names, fmt.Sprintf("n%d", i+1))
		routes = append(routes, fmt.Sprintf("nats://n%d:6222", i+1))
	}
	// Clients know all nodes. Those in containers could not reach the addresses that the nodes advertise.
	const format = `cluster { name: test, listen: "0.0.0.0:6222", no_advertise: true, routes: [%s] }`
	config = append(config, fmt.Sprintf(format, strings.Join(routes, ", ")))
	ports := FreePorts(t, size)
	c := &Cluster{Nodes: make([]*Server, size), Network: net.Name}
	errs := make([]error, size)
	var wg sync.WaitGroup
	for i := range size {
		wg.Go(func() {
			c.Nodes[i], errs[i] = newServer(ctx, t, image, names[i], ports[i], net, config)
		})
	}
	wg.Wait()
	Check(t, errors.Join(errs...))
	for _, n := range c.Nodes {
		Check(t, n.AwaitReady(ctx))
	}
	c.nc = Connect(t, c.URLs())
	c.js, err = jetstream.New(c.nc)
	Check(t, err)
	return c
}

// URLs returns the addresses of all nodes, separated by commas.
func (c *Cluster) URLs() string {
	var urls []string
	for _, n := range c.Nodes {
		urls = append(urls, n.URL)
	}
	return strings.Join(urls, ",")
}

// Leader waits until a stream has a leader, and returns its index in Nodes.
func (c *Cluster) Leader(ctx context.Context, stream string) (int, error) {
	var leader int
	err := Eventually(ctx, "a leader of "+stream, func(ctx context.Context) error {
		name, err := c.leader(ctx, stream, "")
		if err != nil {
			return err
		}
		for i, n := range c.Nodes {
			if n.Name == name {
				leader = i
				return nil
			}
		}
		return fmt.Errorf("%s is led by %q, which is not a node", stream, name)
	})
	return leader, err
}

// LeaderNow returns the name of the node that leads a stream. It does not wait for a leader.
func (c *Cluster) LeaderNow(ctx context.Context, stream string) (string, error) {
	return c.leader(ctx, stream, "")
}

// AwaitLeaders waits until every stream and every consumer has a leader: the cluster then works, but a node may be
// down.
func (c *Cluster) AwaitLeaders(ctx context.Context) error { return c.await(ctx, false) }

// AwaitCurrent waits until every stream and every consumer has a leader, and every replica is online and current: the
// cluster tolerates the loss of a node.
func (c *Cluster) AwaitCurrent(ctx context.Context) error { return c.await(ctx, true) }

func (c *Cluster) await(ctx context.Context, current bool) error {
	what := "leaders of all streams and consumers"
	if current {
		what = "all replicas of all streams and consumers"
	}
	return Eventually(ctx, what, func(ctx context.Context) error {
		return try(ctx, 3*time.Second, func(ctx context.Context) error {
			// By name, and then one by one: a list omits streams and consumers without a leader.
			streams := c.js.StreamNames(ctx)
			for name := range streams.Name() {
				stream, err := c.js.Stream(ctx, name)
				if err != nil {
					return fmt.Errorf("stream %s: %w", name, err)
				}
				if err := healthy("stream "+name, stream.CachedInfo().Cluster, current); err != nil {
					return err
				}
				consumers := stream.ConsumerNames(ctx)
				for name := range consumers.Name() {
					if strings.HasPrefix(name, oraclePrefix) {
						continue // it has one replica; when that is lost, the oracle creates another consumer
					}
					consumer, err := stream.Consumer(ctx, name)
					if err != nil {
						return fmt.Errorf("consumer %s: %w", name, err)
					}
					if err := healthy("consumer "+name, consumer.CachedInfo().Cluster, current); err != nil {
						return err
					}
				}
				if err := consumers.Err(); err != nil {
					return err
				}
			}
			return streams.Err()
		})
	})
}

func healthy(what string, c *jetstream.ClusterInfo, current bool) error {
	if c == nil || c.Leader == "" {
		return fmt.Errorf("%s has no leader", what)
	}
	for _, p := range c.Replicas {
		if current && (p.Offline || !p.Current) {
			return fmt.Errorf(
				"replica %s of %s: offline %t, current %t",
				p.Name,
				what,
				p.Offline,
				p.Current,
			)
		}
	}
	return nil
}

// StepDown makes the leader of a stream step down, and waits until another node leads.
func (c *Cluster) StepDown(ctx context.Context, stream string) error {
	return c.stepDown(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, stream, "")
}

// StepDownConsumer makes the leader of a consumer step down, and waits until another node leads.
func (c *Cluster) StepDownConsumer(ctx context.Context, stream, consumer string) error {
	return c.stepDown(ctx, "$JS.API.CONSUMER.LEADER.STEPDOWN."+stream+"."+consumer, stream, consumer)
}

func (c *Cluster) stepDown(ctx context.Context, subject, stream, consumer string) error {
	var old string
	what := strings.TrimSuffix(stream+" > "+consumer, " > ")
	err := Eventually(ctx, "a leader of "+what, func(ctx context.Context) (err error) {
		old, err = c.leader(ctx, stream, consumer)
		return err
	})
	if err != nil {
		return err
	}
	var requested time.Time
	return Eventually(ctx, "another leader of "+what+" than "+old, func(ctx context.Context) error {
		// The request is repeated every two seconds, because the old leader may win the election.
		if time.Since(requested) > 2*time.Second {
			if err := c.request(ctx, subject); err != nil {
				return err
			}
			requested = time.Now()
		}
		leader, err := c.leader(ctx, stream, consumer)
		if err == nil && leader == old {
			err = fmt.Errorf("%s is still led by %s", what, old)
		}
		return err
	})
}

// leader returns the name of the leader of a stream or, if consumer is set, of that consumer.
func (c *Cluster) leader(ctx context.Context, stream, consumer string) (string, error) {
	var info *jetstream.ClusterInfo
	err := try(ctx, time.Second, func(ctx context.Context) error {
		s, err := c.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		info = s.CachedInfo().Cluster
		if consumer == "" {
			return nil
		}
		cons, err := s.Consumer(ctx, consumer)
		if err != nil {
			return err
		}
		info = cons.CachedInfo().Cluster
		return nil
	})
	if err != nil {
		return "", err
	}
	if info == nil || info.Leader == "" {
		if consumer != "" {
			return "", fmt.Errorf("consumer %s of stream %s has no leader", consumer, stream)
		}
		return "", fmt.Errorf("stream %s has no leader", stream)
	}
	return info.Leader, nil
}

func (c *Cluster) request(ctx context.Context, subject string) error {
	return try(ctx, time.Second, func(ctx context.Context) error {
		msg, err := c.nc.RequestWithContext(ctx, subject, nil)
		if err != nil {
			return fmt.Errorf("requesting %s: %w", subject, err)
		}
		var response struct {
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(msg.Data, &response); err != nil {
			return fmt.Errorf("decoding the response to %s: %w", subject, err)
		}
		if response.Error != nil {
			return fmt.Errorf("requesting %s: %w", subject, response.Error)
		}
		return nil
	})
}
