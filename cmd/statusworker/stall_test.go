package main

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// A link that stalls in one direction closes no connection. The worker notices, reconnects, and continues.
func TestStalledLink(t *testing.T) {
	t.Parallel()
	for name, direction := range map[string]harness.Direction{"from the broker": harness.ToClients,
		"to the broker": harness.ToBroker} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, js := provisioned(t)
			proxy := harness.StartProxy(t, at, harness.Hooks{})
			v := vendor(t, simulator.Config{})
			c := command(
				t,
				"run",
				"--nats-url",
				proxy.URL,
				"--base-url",
				v.URL(),
				"--api-token",
				simulator.DefaultToken,
				"--audio-interval",
				"1s",
				"--chat-interval",
				"1s",
				"--transcript-interval",
				"1s",
			).start()
			c.logs(`"working"`)
			outcomes, err := js.Stream(c.ctx, ns.StreamOutcomes())
			if err != nil {
				t.Fatal(err)
			}
			const declared = 20
			var ids []string
			for range declared {
				id := uuid.NewString()
				ids = append(ids, id)
				v.Declare(id, simulator.Processed(5*time.Second))
				if _, err := js.Publish(
					c.ctx,
					ns.DeclaredSubject(schema.Chat, id),
					[]byte(`{"interactionIdentifier":"`+id+`","type":"chat"}`),
				); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.WaitPolls(c.ctx, declared); err != nil {
				t.Fatal(err)
			}
			proxy.Stall(direction)
			stalled := time.Now()
			c.logs("reconnected to NATS")
			t.Logf("reconnected %s after the link stalled", time.Since(stalled).Round(time.Millisecond))
			for _, id := range ids {
				for {
					if _, err := outcomes.GetLastMsgForSubject(c.ctx, ns.OutcomeSubjects(id)); err == nil {
						break
					}
					select {
					case <-c.ctx.Done():
						t.Fatalf("no outcome of %s:\n%s", id, &c.stderr)
					case <-time.After(50 * time.Millisecond):
					}
				}
			}
			t.Logf("all outcomes are stored %s after it", time.Since(stalled).Round(time.Millisecond))
			if gap, id, ok := v.MinGap(); ok && gap < time.Second {
				t.Errorf("%s was polled again after %s", id, gap)
			}
			info, err := outcomes.Info(c.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if info.State.Msgs != declared {
				t.Errorf("%d outcomes of %d chats", info.State.Msgs, declared)
			}
			c.stop()
			c.end()
		})
	}
}
