package integration

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// losesWorkersAtEachStep kills one worker after the other, each at another step of an interaction. The next worker
// continues until it comes to its own step with an interaction of its own.
func (s *scenario) losesWorkersAtEachStep(cluster *harness.Cluster) {
	s.t.Helper()
	concludes := false // these steps come at the end of an interaction only
	for n, st := range killSteps[s.mode] {
		concludes = concludes || st.name == "outcome unsent"
		s.killAt(cluster.Nodes[n%len(cluster.Nodes)], st, concludes)
	}
	s.start()
	s.finish()
}

// killAt starts a worker that connects to a node through a proxy, declares one interaction, and kills the worker when
// it comes to the step with it.
func (s *scenario) killAt(node *harness.Server, st step, concludes bool) {
	s.t.Helper()
	i := interaction{
		identifier: uuid.NewString(),
		typ:        schema.Audio,
		kinds:      []string{"processed.cxai", "processed.transcript"},
	}
	// If the step is not at the end, the interaction has not ended when the messages that the worker had received are
	// redelivered (AckWait is 10 s or more).
	script := simulator.Processed(14 * time.Second)
	if concludes {
		script = simulator.Processed(0)
	}
	i.script = &script

	proxy := harness.StartProxy(s.t, node.URL, harness.Hooks{})
	victim := s.start("NATS_URL=" + s.inAccount(proxy.URL))
	hit := make(chan struct{}, 1)
	strike := func() {
		select {
		case hit <- struct{}{}:
			victim.Kill()
		default: // it was killed already
		}
	}
	delivered := make(map[string]bool) // reply subjects of the interaction's deliveries
	about := func(m harness.Message) bool {
		if m.Request != nil {
			m = *m.Request
		}
		if strings.HasPrefix(m.Reply, "$JS.ACK.") && m.Identifier() == i.identifier {
			delivered[m.Reply] = true
		}
		return delivered[m.Subject] || m.Identifier() == i.identifier
	}
	hook := func(met func(harness.Message) bool) func(harness.Message) harness.Verdict {
		return func(m harness.Message) harness.Verdict {
			if !about(m) || met == nil || !met(m) {
				return harness.Forward
			}
			strike()
			if st.passes {
				return harness.Forward
			}
			return harness.Close
		}
	}
	proxy.SetHooks(harness.Hooks{OnClient: hook(st.client), OnServer: hook(st.server)})
	if st.poll {
		s.vendor.OnPoll(func(p simulator.Poll) {
			if p.Identifier == i.identifier {
				strike()
			}
		})
	}
	s.declareAll([]interaction{i})
	select {
	case <-hit:
	case <-s.ctx.Done():
		s.t.Fatalf("the worker did not reach the step %q", st.name)
	}
	<-victim.Done()
	s.vendor.OnPoll(nil)
}
