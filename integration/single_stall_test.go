package integration

import (
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
)

// The connections of two of three workers stall, one in each direction, and are not closed. The workers replace them
// and continue.
func TestSingleLinkStalls(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		broker := harness.StartServer(t)
		s := newScenario(t, setting{
			name: "link-stalls/" + string(mode), url: broker.URL, mode: mode, env: []string{longAge},
		})
		var stalling []*harness.Process
		var proxies []*harness.Proxy
		for range 2 {
			proxy := harness.StartProxy(t, broker.URL, harness.Hooks{})
			proxies = append(proxies, proxy)
			stalling = append(stalling, s.start("NATS_URL="+proxy.URL))
		}
		s.start()
		s.declareAll(processed(0))
		s.declareAll(processed(5 * time.Second))
		waiting := endless(20)
		s.declareAll(waiting)
		harness.Check(t, s.vendor.WaitPolls(s.ctx, 10*len(schema.Types())))
		proxies[0].Stall(harness.ToClients)
		proxies[1].Stall(harness.ToBroker)
		for _, w := range stalling {
			_, err := w.AwaitLine(s.ctx, "reconnected to NATS")
			harness.Check(t, err)
		}
		s.end(waiting)
		s.finish()
	})
}
