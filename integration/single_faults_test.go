package integration

import (
	"maps"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
)

func TestSingleBrokerKilledSixTimes(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		const interactions, kills, delay = 300, 6, 400 * time.Millisecond
		broker := harness.StartServer(t)
		s := newScenario(t, setting{
			name: "broker-killed-six-times/" + string(mode), url: broker.URL, mode: mode,
			// How long the broker takes to start again depends on the machine: no deadline is missed.
			env: []string{longAge},
		})
		// Every response is delayed, so that polls are in flight at any time.
		s.declareAll(slowed(ageless(s.confirmable(mixed(interactions, 14*time.Second))), delay))
		for range 3 {
			s.start()
		}
		inFlight, bound := 0, 0
		for range kills {
			s.fresh(50, delay)
			began := time.Now()
			harness.Check(t, broker.Kill(s.ctx))
			inFlight += len(s.polledSince(began.Add(-delay)))
			if mode == consumer.Nak {
				// A poll can come too early if at the kill the previous one was in flight, or if its nak was sent in
				// the last second: a killed broker may have lost that.
				bound += len(s.polledSince(began.Add(-delay - time.Second)))
			}
			harness.Check(t, broker.Start(s.ctx))
		}
		s.mayBeEarly = bound
		s.finishAmongOthers(20)
		note(t, "scenario=%s kills=%d polls_out_at_kills=%d", s.name, kills, inFlight)
	})
}

// fresh declares n interactions, and waits for about as many polls as these need at least. So there is work even if all
// earlier interactions have ended.
func (s *scenario) fresh(n int, delay time.Duration) {
	s.t.Helper()
	polls := s.vendor.Count()
	s.declareAll(slowed(ageless(s.confirmable(mixed(n, 4*time.Second))), delay))
	harness.Check(s.t, s.vendor.WaitPolls(s.ctx, polls+n*4/5))
}

// polledSince returns the interactions that were polled since a time.
func (s *scenario) polledSince(since time.Time) map[string]bool {
	polled := make(map[string]bool)
	for _, p := range s.vendor.Polls() {
		if !p.At.Before(since) {
			polled[p.Identifier] = true
		}
	}
	return polled
}

func TestSingleWorkersKilledInTurn(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		const interactions, kills = 300, 6
		s := newScenario(t, setting{
			name: "workers-killed-in-turn/" + string(mode), url: harness.StartServer(t).URL, mode: mode,
			env: []string{"STATUSWORKER_DEADLINE=40s"},
		})
		const delay = 100 * time.Millisecond
		s.declareAll(slowed(s.confirmable(mixed(interactions, 12*time.Second)), delay))
		for range 3 {
			s.start()
		}
		every := time.NewTicker(2 * time.Second)
		defer every.Stop()
		for i := range kills {
			<-every.C
			// So the worker is killed while it polls.
			s.fresh(25, delay)
			s.workers[i].Kill()
			s.launch()
		}
		s.finish()
	})
}

// It is not parallel, because it needs all processors.
func TestSingleFiveThousand(t *testing.T) {
	s := newScenario(t, setting{
		name: "five-thousand/schedule",
		url:  harness.StartServer(t).URL,
		mode: consumer.Schedule,
		env:  []string{longAge}, // on a slow machine it takes long to confirm refusals
	})
	for range 3 {
		s.start()
	}
	// No deadline is missed, because that would take longer than all else.
	s.declareAll(ageless(mixed(6000, 4*time.Second))[:5000-60])
	s.finishAmongOthers(60)
}

// finishAmongOthers declares n interactions that do not end before all earlier ones, and finishes the scenario. A
// worker confirms a refusal only while the vendor returns the status of other interactions.
func (s *scenario) finishAmongOthers(n int) {
	s.t.Helper()
	others := maps.Clone(s.want)
	waiting := endless(n)
	s.declareAll(waiting)
	harness.Check(s.t, s.oracle.Await(s.ctx, others))
	s.end(waiting)
	s.finish()
}
