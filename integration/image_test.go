package integration

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// TestImage runs the commands of the container image in STATUSWORKER_TEST_IMAGE, from provision until the worker stops.
// The containers use the host's network, because a vendor without TLS is allowed on a loopback address only.
func TestImage(t *testing.T) {
	image := os.Getenv("STATUSWORKER_TEST_IMAGE")
	if image == "" {
		t.Skip("STATUSWORKER_TEST_IMAGE is not set: run .ci/image, which builds an image and runs this test")
	}
	broker := harness.StartServer(t)
	vendor, err := simulator.Start(simulator.Config{Default: func(string) simulator.Script {
		return simulator.Processed(1500 * time.Millisecond)
	}})
	harness.Check(t, err)
	t.Cleanup(vendor.Close)
	env := map[string]string{
		"NATS_URL":                   broker.URL,
		"ELEVATEAI_BASE_URL":         vendor.URL(),
		"ELEVATEAI_API_TOKEN":        simulator.DefaultToken,
		"STATUSWORKER_CHAT_INTERVAL": "1s",
		"STATUSWORKER_ADMIN_ADDR":    "127.0.0.1:0",
	}
	ctx := harness.Context(t, time.Minute)

	provision := startImage(ctx, t, image, env, wait.ForExit(), "provision")
	awaitExit(ctx, t, provision)
	const id = "bd5c92f3-c228-44a6-91bf-b52672569878"
	declare := startImage(ctx, t, image, env, wait.ForExit(), "declare", "--type", "chat", id)
	awaitExit(ctx, t, declare)

	oracle := harness.StartOracle(t, broker.URL)
	want := harness.Expected{}
	want.Add(id, "processed.cxai")
	worker := startImage(ctx, t, image, env, nil)
	harness.Check(t, oracle.Await(ctx, want))
	js := harness.JetStream(t, broker.URL)
	harness.Check(t, harness.AwaitDrained(ctx, js))
	report, err := oracle.Report(ctx, want)
	harness.Check(t, err)
	harness.Check(t, report.Err())
	gap, _, ok := vendor.MinGap()
	if !ok || gap < time.Second {
		t.Errorf("the shortest time between two polls is %v (%t), want at least 1s", gap, ok)
	}
	if polls, err := pending(ctx, js); err != nil || polls != 0 {
		t.Errorf("%d messages wait for an ack (%v), want none", polls, err)
	}

	grace := 10 * time.Second
	harness.Check(t, worker.Stop(ctx, &grace)) // SIGTERM
	awaitExit(ctx, t, worker)
	harness.Figures{
		Scenario: "image", Interactions: 1, Polls: vendor.Count(), MinGap: gap, Interval: time.Second,
		Outcomes: report.Outcomes, Duplicates: len(report.Duplicates), Lost: len(report.Lost),
	}.Print(t)
}

func startImage(
	ctx context.Context,
	t *testing.T,
	image string,
	env map[string]string,
	until wait.Strategy,
	args ...string,
) testcontainers.Container {
	t.Helper()
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		Started: true,
		ContainerRequest: testcontainers.ContainerRequest{
			Image: image, Env: env, Cmd: args, WaitingFor: until, Labels: harness.Labels(t),
			HostConfigModifier: func(h *container.HostConfig) {
				h.NetworkMode = "host"
				// The most restrictive security settings.
				h.ReadonlyRootfs, h.CapDrop, h.SecurityOpt = true, []string{"ALL"}, []string{"no-new-privileges"}
			},
		},
	})
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatalf("running %s %v: %v\n%s", image, args, err, output(ctx, c))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of %s %v:\n%s", image, args, output(context.WithoutCancel(ctx), c))
		}
	})
	return c
}

// awaitExit waits until a container has exited, and checks that its exit code is 0.
func awaitExit(ctx context.Context, t *testing.T, c testcontainers.Container) {
	t.Helper()
	harness.Check(t, wait.ForExit().WaitUntilReady(ctx, c))
	state, err := c.State(ctx)
	harness.Check(t, err)
	if state.ExitCode != 0 {
		t.Fatalf("exit code %d, want 0; output:\n%s", state.ExitCode, output(ctx, c))
	}
}

func output(ctx context.Context, c testcontainers.Container) string {
	if c == nil {
		return ""
	}
	r, err := c.Logs(ctx)
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// pending returns the number of messages on the chat lane that wait for an ack.
func pending(ctx context.Context, js jetstream.JetStream) (int, error) {
	c, err := js.Consumer(ctx, ns.StreamPolls(), ns.PollConsumer(schema.Chat))
	if err != nil {
		return 0, err
	}
	return c.CachedInfo().NumAckPending, nil
}
