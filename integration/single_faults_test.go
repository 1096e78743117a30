package integration

import (
	"slices"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/statusclient/simulator"
)

func TestSingleBrokerKilledSixTimes(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		const interactions, kills, delay = 300, 6, 400 * time.Millisecond
		broker := harness.StartServer(t)
		s := newScenario(t, setting{
			name: "broker-killed-six-times/" + string(mode), url: broker.URL, mode: mode, within: 2 * time.Minute,
			env: []string{"STATUSWORKER_DEADLINE=14s"},
		})
		// Every answer takes a while, so that polls are out at every instant.
		s.declareAll(slowed(mixed(interactions, 12*time.Second), delay))
		for range 3 {
			s.start()
		}
		out, bound := 0, 0
		for range kills {
			harness.Check(t, s.vendor.WaitPolls(s.ctx, s.vendor.Count()+150))
			harness.Check(t, broker.Kill(s.ctx))
			for killed, polls := time.Now(), s.vendor.Polls(); len(polls) > 0 && killed.Sub(polls[len(polls)-1].At) < delay; polls = polls[:len(polls)-1] {
				out++
			}
			if mode == consumer.Nak {
				// Each interaction that waits, or is out at a worker, can come too early once.
				bound += s.unfinished()
			}
			harness.Check(t, broker.Start(s.ctx))
		}
		s.mayBeEarly = bound
		s.finish()
		note(t, "scenario=%s kills=%d polls_out_at_kills=%d", s.name, kills, out)
	})
}

// slowed makes the vendor take its time for every answer about these.
func slowed(interactions []interaction, delay time.Duration) []interaction {
	all := slices.Clone(interactions)
	for n, i := range all {
		if i.script == nil {
			continue
		}
		script := simulator.Script{Steps: i.script.Steps, Faults: slices.Clone(i.script.Faults)}
		for f := range script.Faults {
			script.Faults[f].Delay = delay
		}
		script.Faults = append(script.Faults, simulator.Fault{Kind: simulator.Delayed, Delay: delay}) // the first that meets a poll counts
		all[n].script = &script
	}
	return all
}

// unfinished counts the interactions that have no outcome yet.
func (s *scenario) unfinished() int {
	ended := make(map[string]bool)
	for _, o := range s.oracle.Outcomes() {
		ended[o.Identifier] = true
	}
	return len(s.want) - len(ended)
}

func TestSingleWorkersKilledInTurn(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		const interactions, kills = 300, 6
		s := newScenario(t, setting{
			name: "workers-killed-in-turn/" + string(mode), url: harness.StartServer(t).URL, mode: mode,
			env: []string{"STATUSWORKER_DEADLINE=14s"},
		})
		s.declareAll(slowed(mixed(interactions, 12*time.Second), 100*time.Millisecond))
		for range 3 {
			s.start()
		}
		every := time.NewTicker(2 * time.Second)
		defer every.Stop()
		for i := range kills {
			<-every.C
			// In the middle of its work, that is: polls come all the time.
			harness.Check(t, s.vendor.WaitPolls(s.ctx, s.vendor.Count()+20))
			s.workers[i].Kill()
			s.launch()
		}
		s.finish()
	})
}

// This one has the machine for itself: it is not parallel.
func TestSingleFiveThousand(t *testing.T) {
	s := newScenario(t, setting{
		name: "five-thousand/reserve", url: harness.StartServer(t).URL, mode: consumer.Reserve, within: 2 * time.Minute,
	})
	for range 3 {
		s.start()
	}
	s.declareAll(mixed(5000, 4*time.Second))
	s.finish()
}
