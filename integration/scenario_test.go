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

// scaled is the guidance of most scenarios: short enough for a test, long enough to see who comes too early.
var scaled = consumer.Intervals{Audio: 2 * time.Second, Chat: time.Second, Transcript: time.Second}

// Ages at which an interaction fails, scaled. The deadline only meets what never ends, however long a broker is away:
// all else has reached its end at the vendor long before.
const (
	scaledDeadline = 16 * time.Second
	scaledGrace    = 2 * time.Second
	scaledTimeout  = 2 * time.Second
)

// setting is where a scenario plays.
type setting struct {
	name     string // of the scenario, in its figures
	url      string // of the broker
	account  string // of a broker that scenarios share
	mode     consumer.Mode
	replicas int
	// intervals default to scaled.
	intervals consumer.Intervals
	// env is given to provision and to every worker, after all else.
	env []string
	// within bounds the scenario; the default is 90 s.
	within time.Duration
}

// scenario is a broker with its streams, a vendor, workers in processes of their own, and what is expected of them.
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

	// mayBeEarly bounds the polls that may come too early. It is 0 except for delayed naks on a broker that was killed.
	mayBeEarly int
}

// newScenario provisions the streams, and starts a vendor and an oracle. No worker runs yet.
func newScenario(t *testing.T, at setting) *scenario {
	t.Helper()
	if at.intervals == (consumer.Intervals{}) {
		at.intervals = scaled
	}
	if at.within == 0 {
		at.within = 90 * time.Second
	}
	at.url = at.inAccount(at.url)
	harness.Worker(t) // built before time runs
	if at.replicas == 0 {
		at.replicas = 1
	}
	vendor, err := simulator.Start(simulator.Config{})
	harness.Check(t, err)
	t.Cleanup(vendor.Close)
	s := &scenario{
		setting: at, t: t, ctx: harness.Context(t, at.within), vendor: vendor, js: harness.JetStream(t, at.url),
		want: harness.Expected{}, types: make(map[string]schema.Type),
	}
	provision(t, at.url, at.mode, at.replicas, at.intervals, at.env...)
	s.oracle = harness.Watch(t, at.url)
	return s
}

// provision runs `statusworker provision`, which creates the streams.
func provision(
	t *testing.T,
	url string,
	mode consumer.Mode,
	replicas int,
	intervals consumer.Intervals,
	env ...string,
) {
	t.Helper()
	harness.Worker(t) // built before RunWorker's time runs
	// The vendor is never asked: its address only has to be one that allows short intervals.
	all := append(workerEnv(url, "http://127.0.0.1:1/v1", intervals), env...)
	code, output := harness.RunWorker(
		t,
		all,
		"provision",
		"--redelivery",
		string(mode),
		"--replicas",
		fmt.Sprint(replicas),
	)
	if code != 0 {
		t.Fatalf("statusworker provision: exit code %d; it printed:\n%s", code, output)
	}
}

// workerEnv configures a worker.
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

// launch starts a worker and does not wait for it. More environment may be given, such as the address of a proxy.
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
	_, err := w.AwaitLine(s.ctx, `msg[=":]+working`)
	harness.Check(s.t, err)
	return w
}

// bothModes runs a scenario for each way of holding back.
func bothModes(t *testing.T, scenario func(t *testing.T, mode consumer.Mode)) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			scenario(t, mode)
		})
	}
}
