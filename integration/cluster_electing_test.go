package integration

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
)

// waits is what a command says that waits for a broker which cannot answer yet.
const waits = `waiting for (JetStream|NATS)`

// Two of three nodes are away, and then come back: until they have elected leaders, the cluster answers nothing.
func TestClusterElecting(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t)
	ctx := harness.Context(t, 2*time.Minute)
	kill := func(nodes ...int) {
		for _, n := range nodes {
			harness.Check(t, cluster.Nodes[n].Kill(ctx))
		}
	}
	launch := func(nodes ...int) {
		for _, n := range nodes {
			harness.Check(t, cluster.Nodes[n].Launch(ctx))
		}
	}
	provision := func() *harness.Process {
		return harness.StartWorker(
			t,
			"provision",
			workerEnv(cluster.URLs(), "http://127.0.0.1:1/v1", scaled),
			"provision",
			"--replicas",
			"3",
		)
	}

	// Nothing is provisioned yet. What is left is the leader of the cluster, and goes on saying so for some seconds: it
	// answers questions, but nothing can be created.
	leader := clusterLeader(ctx, t, cluster)
	one, other := (leader+1)%3, (leader+2)%3
	kill(one, other)
	early := provision()
	line, err := early.AwaitLine(ctx, waits)
	harness.Check(t, err)
	launch(one, other)
	if code, err := early.Wait(ctx); err != nil || code != 0 {
		t.Fatalf(
			"provision, which said %q: exit code %d (%v), want 0; it printed:\n%s",
			line,
			code,
			err,
			early.Output(),
		)
	}
	harness.Check(t, cluster.AwaitLeaders(ctx)) // the scenario does not wait for them

	s := newScenario(t, setting{
		name:     "cluster-electing",
		url:      cluster.URLs(),
		mode:     consumer.Schedule,
		replicas: 3,
		env:      []string{longAge},
		within:   4 * time.Minute,
	})
	ctx = s.ctx
	s.declareAll(lasting(30, time.Second, 5*time.Second))
	// Whoever else led: this stream has no leader now, and none of what is left can become one.
	leader, err = cluster.Leader(ctx, schema.StreamPolls)
	harness.Check(t, err)
	other = (leader + 1) % 3
	kill(leader, other)
	first := s.launch()
	_, err = first.AwaitLine(ctx, waits)
	harness.Check(t, err)
	launch(leader, other)
	// These two, and another provision, meet the election at its beginning.
	s.launch()
	s.launch()
	again := provision()
	for _, w := range s.workers {
		_, err := w.AwaitLine(ctx, `msg[=":]+working`)
		harness.Check(t, err)
	}
	if code, err := again.Wait(ctx); err != nil || code != 0 || strings.Contains(again.Output(), "created") {
		t.Fatalf(
			"provision again: exit code %d (%v), want 0, and nothing created; it printed:\n%s",
			code,
			err,
			again.Output(),
		)
	}

	// Workers that are at work meet it too.
	waiting := endless(30)
	s.declareAll(waiting)
	s.more(40)
	kill(2, 0)
	launch(2, 0)
	s.more(40)
	s.end(waiting)
	s.finish()
}

// clusterLeader gives the node that leads the cluster itself: the one that was elected at the start. Only a node's log
// tells it to somebody without a system account.
func clusterLeader(ctx context.Context, t *testing.T, cluster *harness.Cluster) int {
	t.Helper()
	leader := -1
	harness.Check(t, harness.Eventually(ctx, "a leader of the cluster", func(ctx context.Context) error {
		for i, node := range cluster.Nodes {
			log, err := node.Log(ctx)
			if err != nil {
				return err
			}
			if strings.Contains(log, "Self is new JetStream cluster metadata leader") {
				leader = i
				return nil
			}
		}
		return errors.New("no node says so")
	}))
	return leader
}
