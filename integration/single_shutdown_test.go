package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

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
		// Every poll that was out has its answer, and the outcome of it is stored, though nobody works any more.
		finished := harness.Expected{}
		for _, p := range s.vendor.Polls() {
			finished[p.Identifier] = s.want[p.Identifier]
		}
		if n := len(finished); n < slots/2 || n >= interactions {
			t.Errorf("%d interactions were polled before the shutdown, want some of %d", n, interactions)
		}
		if err := s.oracle.Await(harness.Context(t, 5*time.Second), finished); err != nil {
			t.Errorf("polled before the shutdown: %v", err)
		}
		s.start()
		s.finish()
	})
}

func TestSingleSecondSignalLeavesNow(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		s := newScenario(t, setting{
			name: "second-signal/" + string(mode), url: harness.StartServer(t).URL, mode: mode,
			env: []string{"STATUSWORKER_REQUEST_TIMEOUT=20s", "STATUSWORKER_SHUTDOWN_TIMEOUT=60s", "STATUSWORKER_DEADLINE=5m"},
		})
		const interactions = 6
		s.vendor.SetFaults(simulator.Fault{Kind: simulator.Hangs})
		s.declareAll(many(interactions, simulator.Processed(0)))
		w := s.start()
		harness.Check(t, s.vendor.WaitPolls(s.ctx, interactions))
		harness.Check(t, w.Term())
		// It has heard the first signal when it asks for nothing more. What is out goes on.
		harness.Check(t, harness.Eventually(s.ctx, "the end of all pulls", func(ctx context.Context) error { return s.pulls(ctx) }))
		select {
		case <-w.Done():
			t.Error("the worker left at the first signal, while polls were out")
		default:
			harness.Check(t, w.Term())
		}
		// Long before anything else would end it: the polls in 20 s, the shutdown in 60 s.
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

// pulls is an error while a lane waits for messages.
func (s *scenario) pulls(ctx context.Context) error {
	stream := schema.StreamPolls
	if s.mode == consumer.Nak {
		stream = schema.StreamDeclared
	}
	for _, typ := range schema.Types() {
		c, err := s.js.Consumer(ctx, stream, schema.PollConsumer(typ))
		if err != nil {
			return err
		}
		if n := c.CachedInfo().NumWaiting; n > 0 {
			return fmt.Errorf("lane %s has %d pulls open", typ, n)
		}
	}
	return nil
}

// many gives n chats with the same life, which ends as processed.
func many(n int, script simulator.Script) []interaction {
	all := make([]interaction, n)
	for i := range all {
		all[i] = interaction{identifier: uuid.NewString(), typ: schema.Chat, script: &script, kinds: []string{"processed.cxai"}}
	}
	return all
}

// At the vendor's real guidance.
func TestSingleRealGuidance(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		s := newScenario(t, setting{
			name: "real-guidance/" + string(mode), url: harness.StartServer(t).URL, mode: mode, intervals: consumer.Guidance,
			env: []string{"STATUSWORKER_DEADLINE=24h", "STATUSWORKER_NOT_FOUND_GRACE=5m", "STATUSWORKER_REQUEST_TIMEOUT=10s"},
		})
		s.start()
		s.declareAll(many(10, simulator.Processed(7*time.Second)))
		s.finish()
		if _, interval := s.leastGap(); interval != 5*time.Second {
			t.Errorf("the figures are about a guidance of %v, want 5s", interval)
		}
		var worst time.Duration
		for _, o := range s.oracle.Outcomes() {
			reached, _, ok := s.vendor.ReachedAt(o.Identifier)
			if !ok {
				t.Fatalf("%s never ends", o.Identifier)
			}
			// The container has this machine's clock.
			worst = max(worst, o.Stored.Sub(reached))
		}
		note(t, "scenario=%s outcome_after_vendor_at_most=%.3fs promised=%.3fs", s.name, worst.Seconds(), redelivery(5*time.Second).Seconds()+1)
	})
}

// redelivery is the longest that the stage promises between two polls.
func redelivery(interval time.Duration) time.Duration {
	return interval + time.Second + interval/20
}

func TestSingleStartOrder(t *testing.T) {
	t.Parallel()
	t.Run("no broker yet", func(t *testing.T) {
		broker := harness.StartServer(t)
		s := newScenario(t, setting{name: "start-order/no-broker-yet", url: broker.URL, mode: consumer.Schedule})
		s.declareAll(processed(0))
		harness.Check(t, broker.Stop(s.ctx))
		w := s.launch()
		_, err := w.AwaitLine(s.ctx, `"waiting for NATS","servers":"`+broker.URL)
		harness.Check(t, err)
		harness.Check(t, broker.Start(s.ctx))
		s.finish()
	})
	t.Run("what no waiting fixes", func(t *testing.T) {
		broker := harness.StartServer(t, `accounts {
  stage { jetstream: enabled, users: [{ user: stage, password: secret }] }
  plain { users: [{ user: plain, password: secret }] }
}`)
		env := func(user, password string) []string {
			return append(workerEnv(broker.URL, "http://127.0.0.1:1/v1", scaled), "NATS_USER="+user, "NATS_PASSWORD="+password)
		}
		for _, wrong := range []struct {
			name string
			env  []string
			says []string
		}{
			{"wrong password", env("stage", "wrong"), []string{"Authorization Violation", "$NATS_USER", "$NATS_PASSWORD"}},
			{"no password", workerEnv(broker.URL, "http://127.0.0.1:1/v1", scaled), []string{"Authorization Violation", "$NATS_CREDS"}},
			{"no streams", env("stage", "secret"), []string{"no streams", "`statusworker provision`"}},
		} {
			code, output := harness.RunWorker(t, wrong.env, "run")
			if code != 1 {
				t.Errorf("%s: exit code %d, want 1", wrong.name, code)
			}
			for _, say := range wrong.says {
				if !strings.Contains(output, say) {
					t.Errorf("%s: want the worker to say %q; it says:\n%s", wrong.name, say, output)
				}
			}
			if strings.Contains(output, "wrong") && wrong.name == "wrong password" {
				t.Errorf("the password is shown:\n%s", output)
			}
		}
		// Without JetStream there is something to wait for: somebody may enable it.
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
