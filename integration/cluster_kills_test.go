package integration

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// losesWorkersAtEachStep has one worker after the other killed at a step of an interaction's life. The next one takes
// over, and goes on until it comes to its own step with an interaction of its own.
func (s *scenario) losesWorkersAtEachStep(cluster *harness.Cluster) {
	s.t.Helper()
	steps := stepsOfReservations
	if s.mode == consumer.Nak {
		steps = stepsOfNaks
	}
	concludes := false // the steps from here on are met at the end of a life only
	for n, st := range steps {
		concludes = concludes || st.name == "outcome unsent"
		s.killAt(cluster.Nodes[n%len(cluster.Nodes)], st, concludes)
	}
	s.start()
	s.finish()
}

// killAt starts a worker behind a proxy before a node, declares one interaction, and has the worker killed when it
// comes to the step with it.
func (s *scenario) killAt(node *harness.Server, st step, concludes bool) {
	s.t.Helper()
	i := interaction{
		identifier: uuid.NewString(),
		typ:        schema.Audio,
		kinds:      []string{"processed.cxai", "processed.transcript"},
	}
	// Where the step is none of the end, the interaction still waits when what the worker had received is delivered
	// again (AckWait is 10 s and more).
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
		default: // it is dead already
		}
	}
	delivered := make(map[string]bool) // reply subjects: what the interaction's deliveries are settled on
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
		s.t.Fatalf("no worker came to the step %q", st.name)
	}
	<-victim.Done()
	s.vendor.OnPoll(nil)
}
