package integration

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
)

// waits matches the log message of a command that waits for a broker.
const waits = `waiting for (JetStream|NATS)`

// Two of three nodes are killed and restarted. Until leaders are elected, the cluster does not answer.
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

	// Nothing is provisioned yet. The node that is left is the leader of the cluster, and remains so for some seconds:
	// it answers queries, but creates nothing.
	leader := clusterLeader(ctx, t, cluster)
	one, other := (leader+1)%3, (leader+2)%3
	kill(one, other)
	early := provision()
	line, err := early.AwaitLine(ctx, waits)
	harness.Check(t, err)
	launch(one, other)
	if code, err := early.Wait(ctx); err != nil || code != 0 {
		t.Fatalf(
			"provision, which logged %q: exit code %d (%v), want 0; output:\n%s",
			line,
			code,
			err,
			early.Output(),
		)
	}
	harness.Check(t, cluster.AwaitLeaders(ctx)) // the declared messages need them

	s := newScenario(t, setting{
		name:     "cluster-electing",
		url:      cluster.URLs(),
		mode:     consumer.Schedule,
		replicas: 3,
		env:      []string{longAge},
	})
	ctx = s.ctx
	s.declareAll(lasting(30, time.Second, 5*time.Second))
	// Kill the leader of the stream of polls, and another node, so that no leader can be elected.
	leader, err = cluster.Leader(ctx, ns.StreamPolls())
	harness.Check(t, err)
	other = (leader + 1) % 3
	kill(leader, other)
	first := s.launch()
	_, err = first.AwaitLine(ctx, waits)
	harness.Check(t, err)
	launch(leader, other)
	// Two more workers and another provision start while leaders are elected.
	s.launch()
	s.launch()
	again := provision()
	s.awaitWorking(s.workers...)
	if code, err := again.Wait(ctx); err != nil || code != 0 || strings.Contains(again.Output(), "created") {
		t.Fatalf(
			"second provision: exit code %d (%v), want 0 and nothing created; output:\n%s",
			code,
			err,
			again.Output(),
		)
	}

	// Leaders are elected while the workers work.
	waiting := endless(30)
	s.declareAll(waiting)
	s.more(40)
	kill(2, 0)
	launch(2, 0)
	s.more(40)
	s.end(waiting)
	s.finish()
}

// clusterLeader returns the node that leads the cluster since its start. Without a system account, this is known from
// the nodes' logs only.
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
		return errors.New("no node has logged it")
	}))
	return leader
}
