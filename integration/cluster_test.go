package integration

import (
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
)

// onCluster starts a cluster and provisions a scenario with three replicas on it. It starts no worker.
func onCluster(t *testing.T, name string, env ...string) (*harness.Cluster, *scenario) {
	t.Helper()
	cluster := harness.StartCluster(t)
	return cluster, newScenario(t, onNodes(cluster, name, consumer.Schedule, env...))
}

// onNodes returns the setting of a scenario with three replicas on a cluster.
func onNodes(cluster *harness.Cluster, name string, mode consumer.Mode, env ...string) setting {
	return setting{
		name:     "cluster-" + name + "/" + string(mode),
		url:      cluster.URLs(),
		mode:     mode,
		replicas: 3,
		env:      env,
	}
}

// The scenarios that kill no node and move no leader share a cluster, each in its own account.
func TestClusterShared(t *testing.T) {
	t.Parallel()
	both := []consumer.Mode{consumer.Schedule, consumer.Nak}
	scenarios := []struct {
		name  string
		modes []consumer.Mode
		env   []string
		play  func(*scenario, *harness.Cluster)
	}{
		{"paths", both, []string{"STATUSWORKER_DEADLINE=40s"}, (*scenario).takesAllPaths},
		{"worker-killed", both, []string{longAge}, (*scenario).losesWorkersAtEachStep},
		// The figures are the same on every node.
		{"status", both[:1], nil, func(s *scenario, _ *harness.Cluster) { s.showsItsStatus() }},
		{"consumers-recreated", both[:1], []string{longAge}, (*scenario).recreatesItsConsumers},
	}
	cluster := harness.StartCluster(t, accounts(2*len(scenarios)))
	accountsUsed := 0
	for _, sc := range scenarios {
		for _, mode := range sc.modes {
			at := onNodes(cluster, sc.name, mode, sc.env...)
			at.account = account(accountsUsed)
			accountsUsed++
			t.Run(sc.name+"/"+string(mode), func(t *testing.T) {
				t.Parallel()
				sc.play(newScenario(t, at), cluster)
			})
		}
	}
}

// longAge keeps interactions that wait for the end of a scenario from missing their deadline.
const longAge = "STATUSWORKER_DEADLINE=1h"

// more waits until n more polls have been made.
func (s *scenario) more(n int) {
	s.t.Helper()
	harness.Check(s.t, s.vendor.WaitPolls(s.ctx, s.vendor.Count()+n))
}

// leadApart moves the leader of every lane to another node than the leader of the stream of polls. Only a node that is
// ahead of the stream's leader delivers a due message while the leader still has its reservation.
func (s *scenario) leadApart(cluster *harness.Cluster) {
	s.t.Helper()
	harness.Check(s.t, cluster.AwaitCurrent(s.ctx))
	stream, err := s.js.Stream(s.ctx, ns.StreamPolls())
	harness.Check(s.t, err)
	for _, typ := range schema.Types() {
		lane, err := stream.Consumer(s.ctx, ns.PollConsumer(typ))
		harness.Check(s.t, err)
		if lane.CachedInfo().Cluster.Leader == stream.CachedInfo().Cluster.Leader {
			harness.Check(s.t, cluster.StepDownConsumer(s.ctx, ns.StreamPolls(), ns.PollConsumer(typ)))
		}
	}
}

// On a replicated stream, the broker rejects some reservations although the previous one has fallen due. A worker that
// concludes from such a rejection that another worker polls loses interactions here, without any fault: a worker that
// was changed to do so lost 4 to 109 of these 1,050. The busier the leader, the more it rejects.
func TestClusterWithoutFaults(t *testing.T) {
	cluster, s := onCluster(t, "no-faults", longAge)
	s.leadApart(cluster)
	s.startThree()
	s.declareAll(lasting(150, time.Second, 8*time.Second))
	waiting := endless(900)
	s.declareAll(waiting)
	harness.Check(t, s.vendor.WaitPolls(s.ctx, 6000))
	s.end(waiting)
	s.finish()
}

func TestClusterLeaderStepDowns(t *testing.T) {
	t.Parallel()
	cluster, s := onCluster(t, "step-downs", longAge)
	s.startThree()
	s.declareAll(lasting(150, 2*time.Second, 30*time.Second))
	waiting := endless(150)
	s.declareAll(waiting)
	for range 3 {
		for _, stream := range []string{ns.StreamPolls(), ns.StreamDeclared(), ns.StreamOutcomes()} {
			s.more(20)
			harness.Check(t, cluster.StepDown(s.ctx, stream))
		}
		for _, typ := range schema.Types() {
			s.more(20)
			harness.Check(t, cluster.StepDownConsumer(s.ctx, ns.StreamPolls(), ns.PollConsumer(typ)))
		}
		s.more(20)
		harness.Check(t, cluster.StepDownConsumer(s.ctx, ns.StreamDeclared(), ns.ConsumerIntake()))
		// The intake has work while leaders change.
		late := endless(20)
		s.declareAll(late)
		waiting = append(waiting, late...)
	}
	s.end(waiting)
	s.finish()
}

func TestClusterNodesKilled(t *testing.T) {
	t.Parallel()
	cluster, s := onCluster(t, "nodes-killed", longAge)
	s.startThree()
	s.declareAll(lasting(150, 2*time.Second, 40*time.Second))
	waiting := endless(150)
	s.declareAll(waiting)
	for kill := range 6 {
		node := cluster.Nodes[kill%len(cluster.Nodes)]
		s.more(100)
		harness.Check(t, node.Kill(s.ctx))
		late := endless(10)
		s.declareAll(late)
		waiting = append(waiting, late...)
		s.more(100) // on two nodes
		harness.Check(t, node.Launch(s.ctx))
		harness.Check(t, cluster.AwaitCurrent(s.ctx))
	}
	s.end(waiting)
	s.finish()
}
