package integration

import (
	"strings"
	"time"

	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// recreatesItsConsumers recreates the consumers of the lanes while workers poll: the scenario with their state in
// memory, and `provision --update` on disk again. All workers must survive it.
func (s *scenario) recreatesItsConsumers(*harness.Cluster) {
	s.t.Helper()
	s.startThree()
	s.declareAll(lasting(150, 2*time.Second, 20*time.Second))
	waiting := endless(150)
	s.declareAll(waiting)
	for range 3 {
		for _, typ := range schema.Types() {
			s.more(20)
			s.keepInMemory(typ)
		}
		s.more(50)
		env := append(workerEnv(s.url, s.vendor.URL(), s.intervals), s.env...)
		code, output := harness.RunWorker(s.t, env, "provision", "--update")
		if code != 0 {
			s.t.Fatalf("provision --update: exit code %d, want 0; output:\n%s", code, output)
		}
		for _, typ := range schema.Types() {
			want := "recreated " + topology.ConsumerObject(ns.StreamPolls(), ns.PollConsumer(typ))
			if !strings.Contains(output, want) {
				s.t.Errorf("provision --update did not print %q:\n%s", want, output)
			}
		}
		s.more(50)
	}
	for n, w := range s.workers {
		select {
		case <-w.Done():
			s.t.Errorf("worker %d has exited", n+1)
		default:
		}
	}
	s.end(waiting)
	s.finish()
}

// keepInMemory recreates the consumer of a lane with its state in memory.
func (s *scenario) keepInMemory(typ schema.Type) {
	s.t.Helper()
	name := ns.PollConsumer(typ)
	c, err := s.js.Consumer(s.ctx, ns.StreamPolls(), name)
	harness.Check(s.t, err)
	cfg := c.CachedInfo().Config
	cfg.MemoryStorage = true
	harness.Check(s.t, s.js.DeleteConsumer(s.ctx, ns.StreamPolls(), name))
	_, err = s.js.CreateConsumer(s.ctx, ns.StreamPolls(), cfg)
	harness.Check(s.t, err)
}
