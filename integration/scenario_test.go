package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// scaled are the poll intervals of most scenarios: short enough for a test, long enough to detect early polls.
var scaled = consumer.Intervals{Audio: 2 * time.Second, Chat: time.Second, Transcript: time.Second}

// Ages at which an interaction fails in most scenarios. The deadline must only fail interactions that never end at the
// vendor, even if a broker is down for a while: all others have long ended by then.
const (
	scaledDeadline = 16 * time.Second
	scaledGrace    = 2 * time.Second
	scaledTimeout  = 2 * time.Second
)

// hangs is the time after which a scenario is considered to hang. How long a scenario takes depends on the machine.
const hangs = 6 * time.Minute

// setting is the configuration of a scenario.
type setting struct {
	name     string // of the scenario, as in its figures
	url      string // of the broker
	account  string // on a broker that several scenarios share
	mode     consumer.Mode
	replicas int
	// intervals is scaled by default.
	intervals consumer.Intervals
	// env is added to the environment of provision and of every worker. It takes precedence.
	env []string
}

// scenario is a broker with its streams, a simulated vendor, worker processes, and the expected outcomes.
type scenario struct {
	setting
	t      *testing.T
	ctx    context.Context
	vendor *simulator.Simulator
	js     jetstream.JetStream
	oracle *harness.Oracle
	want   harness.Expected
	types  map[string]schema.Type

	workers []*harness.Process

	// mayBeEarly is the number of polls that may come too early. It is 0 except with delayed naks on a broker that is
	// killed.
	mayBeEarly int
}

// newScenario provisions the streams, and starts a simulated vendor and an oracle. It starts no worker.
func newScenario(t *testing.T, at setting) *scenario {
	t.Helper()
	if at.intervals == (consumer.Intervals{}) {
		at.intervals = scaled
	}
	at.url = at.inAccount(at.url)
	harness.WorkerBinary(t) // the timeout does not include the build
	if at.replicas == 0 {
		at.replicas = 1
	}
	vendor, err := simulator.Start(simulator.Config{})
	harness.Check(t, err)
	t.Cleanup(vendor.Close)
	s := &scenario{
		setting: at, t: t, ctx: harness.Context(t, hangs), vendor: vendor, js: harness.JetStream(t, at.url),
		want: harness.Expected{}, types: make(map[string]schema.Type),
	}
	provision(t, at.url, at.mode, at.replicas, at.intervals, at.env...)
	s.oracle = harness.StartOracle(t, at.url)
	return s
}

// provision runs `statusworker provision`, which creates the streams.
func provision(
	t *testing.T, url string, mode consumer.Mode, replicas int, intervals consumer.Intervals, env ...string,
) {
	t.Helper()
	// No request is sent to this vendor. On a loopback address, short intervals are allowed.
	all := append(workerEnv(url, "http://127.0.0.1:1/v1", intervals), env...)
	code, output := harness.RunWorker(t, all,
		"provision", "--redelivery", string(mode), "--replicas", fmt.Sprint(replicas))
	if code != 0 {
		t.Fatalf("statusworker provision: exit code %d, want 0; output:\n%s", code, output)
	}
}

// workerEnv returns the environment of a worker.
func workerEnv(broker, vendor string, intervals consumer.Intervals) []string {
	return []string{
		"NATS_URL=" + broker,
		"ELEVATEAI_BASE_URL=" + vendor,
		"ELEVATEAI_API_TOKEN=" + simulator.DefaultToken,
		"STATUSWORKER_AUDIO_INTERVAL=" + intervals.Audio.String(),
		"STATUSWORKER_CHAT_INTERVAL=" + intervals.Chat.String(),
		"STATUSWORKER_TRANSCRIPT_INTERVAL=" + intervals.Transcript.String(),
		"STATUSWORKER_REQUEST_TIMEOUT=" + scaledTimeout.String(),
		"STATUSWORKER_DEADLINE=" + scaledDeadline.String(),
		"STATUSWORKER_NOT_FOUND_GRACE=" + scaledGrace.String(),
		"STATUSWORKER_FAILED_STATUS=" + failedStatus,
	}
}

// launch starts a worker and does not wait until it works. More environment may be added, such as the URL of a proxy.
func (s *scenario) launch(env ...string) *harness.Process {
	s.t.Helper()
	all := append(workerEnv(s.url, s.vendor.URL(), s.intervals), s.env...)
	w := harness.StartWorker(s.t, fmt.Sprintf("worker %d", len(s.workers)+1), append(all, env...), "run")
	s.workers = append(s.workers, w)
	return w
}

// start starts a worker and waits until it works.
func (s *scenario) start(env ...string) *harness.Process {
	s.t.Helper()
	w := s.launch(env...)
	s.awaitWorking(w)
	return w
}

// startThree starts three workers at the same time and waits until they work.
func (s *scenario) startThree() {
	s.t.Helper()
	s.awaitWorking(s.launch(), s.launch(), s.launch())
}

// awaitWorking waits until workers work.
func (s *scenario) awaitWorking(workers ...*harness.Process) {
	s.t.Helper()
	for _, w := range workers {
		_, err := w.AwaitLine(s.ctx, `msg[=":]+working`)
		harness.Check(s.t, err)
	}
}

// bothModes runs a scenario with each redelivery mode.
func bothModes(t *testing.T, scenario func(t *testing.T, mode consumer.Mode)) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			scenario(t, mode)
		})
	}
}
