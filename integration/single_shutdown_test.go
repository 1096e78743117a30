package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

func TestSingleShutdownMidFlight(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		s := newScenario(t, setting{name: "shutdown/" + string(mode), url: harness.StartServer(t).URL, mode: mode})
		s.vendor.SetFaults(simulator.Fault{Kind: simulator.Delayed, Delay: time.Second})
		const interactions, slots = 40, 8
		s.declareAll(many(interactions, simulator.Processed(0)))
		w := s.start(fmt.Sprintf("STATUSWORKER_CONCURRENCY=%d", slots))
		harness.Check(t, s.vendor.WaitPolls(s.ctx, slots/2))
		harness.Check(t, w.Term())
		code, err := w.Wait(harness.Context(t, 20*time.Second))
		harness.Check(t, err)
		if code != 0 {
			t.Errorf("exit code %d after SIGTERM, want 0", code)
		}
		// The outcome of every poll that was in flight is stored, although no worker runs.
		finished := harness.Expected{}
		for _, p := range s.vendor.Polls() {
			finished[p.Identifier] = s.want[p.Identifier]
		}
		if n := len(finished); n < slots/2 || n >= interactions {
			t.Errorf("%d interactions were polled before the shutdown, want %d to %d", n, slots/2, interactions-1)
		}
		if err := s.oracle.Await(harness.Context(t, 5*time.Second), finished); err != nil {
			t.Errorf("outcomes of the polls before the shutdown: %v", err)
		}
		s.start()
		s.finish()
	})
}

func TestSingleSecondSignalExitsAtOnce(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		s := newScenario(t, setting{
			name: "second-signal/" + string(mode), url: harness.StartServer(t).URL, mode: mode,
			env: []string{"STATUSWORKER_REQUEST_TIMEOUT=20s", "STATUSWORKER_SHUTDOWN_TIMEOUT=60s", longAge},
		})
		const interactions = 6
		s.vendor.SetFaults(simulator.Fault{Kind: simulator.Hangs})
		s.declareAll(many(interactions, simulator.Processed(0)))
		w := s.start()
		harness.Check(t, s.vendor.WaitPolls(s.ctx, interactions))
		harness.Check(t, w.Term())
		// After the first signal it stops pulling. Polls in flight continue.
		harness.Check(t, harness.Eventually(s.ctx, "the end of all pulls", s.pulls))
		select {
		case <-w.Done():
			t.Error("the worker exited after the first signal, while polls were in flight")
		default:
			harness.Check(t, w.Term())
		}
		// The polls would end after 20 s, the shutdown after 60 s.
		code, err := w.Wait(harness.Context(t, 10*time.Second))
		harness.Check(t, err)
		if code != 0 {
			t.Errorf("exit code %d after the second SIGTERM, want 0", code)
		}
		s.vendor.SetFaults()
		s.start()
		s.finish()
	})
}

// pulls returns an error while a lane has pull requests open.
func (s *scenario) pulls(ctx context.Context) error {
	stream := ns.StreamPolls()
	if s.mode == consumer.Nak {
		stream = ns.StreamDeclared()
	}
	for _, typ := range schema.Types() {
		c, err := s.js.Consumer(ctx, stream, ns.PollConsumer(typ))
		if err != nil {
			return err
		}
		if n := c.CachedInfo().NumWaiting; n > 0 {
			return fmt.Errorf("lane %s has %d pull requests open", typ, n)
		}
	}
	return nil
}

// The poll intervals are those of the vendor's guidance.
func TestSingleRealGuidance(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		s := newScenario(t, setting{
			name: "real-guidance/" + string(mode), url: harness.StartServer(t).URL, mode: mode,
			intervals: consumer.Guidance,
			env: []string{
				"STATUSWORKER_DEADLINE=24h", "STATUSWORKER_NOT_FOUND_GRACE=5m", "STATUSWORKER_REQUEST_TIMEOUT=10s",
			},
		})
		s.start()
		s.declareAll(many(10, simulator.Processed(7*time.Second)))
		s.finish()
		if _, interval := s.minGap(); interval != 5*time.Second {
			t.Errorf("the figures are for an interval of %v, want 5s", interval)
		}
		var worst time.Duration
		for _, o := range s.oracle.Outcomes() {
			reached, _, ok := s.vendor.ReachedAt(o.Identifier)
			if !ok {
				t.Fatalf("%s does not end at the vendor", o.Identifier)
			}
			// The container uses this machine's clock.
			worst = max(worst, o.Stored.Sub(reached))
		}
		note(t, "scenario=%s outcome_after_vendor_at_most=%.3fs promised=%.3fs",
			s.name, worst.Seconds(), redelivery(5*time.Second).Seconds()+1)
	})
}

// redelivery returns the promised maximum between two polls.
func redelivery(interval time.Duration) time.Duration {
	return interval + time.Second + interval/20
}

func TestSingleStartOrder(t *testing.T) {
	t.Parallel()
	t.Run("broker down", func(t *testing.T) {
		broker := harness.StartServer(t)
		s := newScenario(t, setting{name: "start-order/broker-down", url: broker.URL, mode: consumer.Schedule})
		s.declareAll(processed(0))
		harness.Check(t, broker.Stop(s.ctx))
		w := s.launch()
		_, err := w.AwaitLine(s.ctx, `"waiting for NATS","servers":"`+broker.URL)
		harness.Check(t, err)
		harness.Check(t, broker.Start(s.ctx))
		s.finish()
	})
	t.Run("errors that waiting does not fix", func(t *testing.T) {
		broker := harness.StartServer(t, `accounts {
  stage { jetstream: enabled, users: [{ user: stage, password: secret }] }
  plain { users: [{ user: plain, password: secret }] }
}`)
		plain := slices.Clip(workerEnv(broker.URL, "http://127.0.0.1:1/v1", scaled))
		env := func(user, password string) []string {
			return append(plain, "NATS_USER="+user, "NATS_PASSWORD="+password)
		}
		for _, wrong := range []struct {
			name  string
			env   []string
			shows []string
		}{
			{"wrong password", env("stage", "wrong"), []string{"$NATS_USER", "$NATS_PASSWORD"}},
			{"no password", plain, []string{"$NATS_CREDS"}},
			{"no streams", env("stage", "secret"), []string{"`statusworker provision`"}},
		} {
			code, output := harness.RunWorker(t, wrong.env, "run")
			if code != 1 {
				t.Errorf("%s: exit code %d, want 1", wrong.name, code)
			}
			for _, text := range wrong.shows {
				if !strings.Contains(output, text) {
					t.Errorf("%s: the output does not contain %q:\n%s", wrong.name, text, output)
				}
			}
			if wrong.name == "wrong password" && strings.Contains(output, "wrong") {
				t.Errorf("the output contains the password:\n%s", output)
			}
		}
		// Without JetStream the worker waits, because an operator may enable it.
		w := harness.StartWorker(t, "worker", env("plain", "secret"), "run")
		ctx := harness.Context(t, 30*time.Second)
		_, err := w.AwaitLine(ctx, "not enabled.*waiting for JetStream")
		harness.Check(t, err)
		harness.Check(t, w.Term())
		if code, err := w.Wait(ctx); code != 0 || err != nil {
			t.Errorf("exit code %d (%v) after SIGTERM, want 0", code, err)
		}
	})
}
