package integration

import (
	"errors"
	"sync"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/statusclient/simulator"
)

// All nodes are killed at once with a thousand interactions in flight, and one of them does not start again. Two
// nodes must suffice: they elect no leader of a consumer whose state was in memory, and polls stand still.
func TestClusterAllNodesKilled(t *testing.T) {
	t.Parallel()
	cluster := harness.StartCluster(t)
	at := onNodes(cluster, "all-killed", consumer.Schedule, longAge)
	at.intervals = consumer.Intervals{Audio: 20 * time.Second, Chat: 10 * time.Second, Transcript: 10 * time.Second}
	s := newScenario(t, at)
	s.startThree()
	waiting := endless(1000)
	s.declareAll(waiting)
	s.eachPolled(waiting, 1)
	s.more(50)

	errs := make([]error, len(cluster.Nodes))
	var killing sync.WaitGroup
	for i, node := range cluster.Nodes {
		killing.Go(func() { errs[i] = node.Kill(s.ctx) })
	}
	killing.Wait()
	harness.Check(t, errors.Join(errs...))
	launched := time.Now()
	for _, node := range cluster.Nodes[:2] {
		harness.Check(t, node.Launch(s.ctx))
	}
	// The first of these polls may have been reserved before the nodes were killed.
	s.eachPolled(waiting, 2)
	var first time.Time
	for _, p := range s.vendor.Polls() {
		if first.IsZero() && p.At.After(launched) {
			first = p.At
		}
	}
	note(t, "scenario=%s nodes=2 in_flight=%d first_poll_after=%.1fs", s.name, len(waiting),
		first.Sub(launched).Seconds())

	harness.Check(t, cluster.Nodes[2].Launch(s.ctx))
	harness.Check(t, cluster.AwaitCurrent(s.ctx))
	s.end(waiting)
	s.finish()
}

// eachPolled waits until each of the interactions has been polled n more times.
func (s *scenario) eachPolled(all []interaction, n int) {
	s.t.Helper()
	before := make([]int, len(all))
	for i := range all {
		before[i] = s.vendor.CountOf(all[i].identifier)
	}
	done := 0
	harness.Check(s.t, s.vendor.Wait(s.ctx, func(v *simulator.Simulator) bool {
		for done < len(all) && v.CountOf(all[done].identifier) >= before[done]+n {
			done++
		}
		return done == len(all)
	}))
}
