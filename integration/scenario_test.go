package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
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

// interaction is one that is declared, with its life at the vendor and what shall become of it.
type interaction struct {
	what       string
	identifier string
	typ        schema.Type
	differ     []schema.Flag // from their default
	// script is its life at the vendor; nil means that the vendor does not know it.
	script *simulator.Script
	// message replaces the declared message.
	message string
	kinds   []string
}

func (i interaction) declaration() []byte {
	if i.message != "" {
		return []byte(i.message)
	}
	message := fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":%q`, i.identifier, i.typ)
	for _, f := range i.differ {
		message = fmt.Appendf(message, `,%q:%t`, f, !f.Default())
	}
	return append(message, '}')
}

// processed gives one interaction that is processed after a time, for each type and each route.
func processed(after time.Duration) []interaction {
	var all []interaction
	for _, typ := range schema.Types() {
		for n := range len(schema.Flags()) + 1 {
			script := simulator.Processed(after)
			i := interaction{what: "processed", identifier: uuid.NewString(), typ: typ, script: &script}
			if n > 0 {
				i.differ = schema.Flags()[n-1 : n]
			}
			declared, err := schema.Decode(i.declaration())
			if err != nil {
				panic(err) // the message is this file's own
			}
			for _, to := range declared.Destinations() {
				i.kinds = append(i.kinds, "processed."+string(to))
			}
			all = append(all, i)
		}
	}
	return all
}

// failedStatus is one that the vendor's documentation does not know, and that the workers are given as a failure.
const failedStatus = "transcriptionFailed"

// failing gives one interaction for each reason to fail. The vendor's failures come after a time, a missed deadline and
// an unknown identifier after scaledDeadline and scaledGrace.
func failing(typ schema.Type, after time.Duration) []interaction {
	var all []interaction
	add := func(reason schema.Reason, message string, script *simulator.Script) {
		all = append(all, interaction{
			what: string(reason), identifier: uuid.NewString(), typ: typ, script: script, message: message,
			kinds: []string{"failed." + string(reason)},
		})
	}
	for _, status := range schema.Statuses() {
		if status.Meaning() == schema.Failed {
			script := simulator.Failed(status, after)
			add(status.Reason(), "", &script)
		}
	}
	named := simulator.Constant(failedStatus)
	add(schema.VendorFailed, "", &named)
	never := simulator.Never()
	rejected := simulator.Never().With(simulator.Refusal(400))
	add(schema.NotFound, "", nil)
	add(schema.Rejected, "", &rejected)
	add(schema.DeadlineExceeded, "", &never)
	add(schema.InvalidMessage, `{"type":`, &never)
	return all
}

// confirmable leaves out what the vendor refuses where the refusals cannot be confirmed within a scenario's deadline:
// with delayed naks each of several workers counts them for itself.
func (s *scenario) confirmable(all []interaction) []interaction {
	return slices.DeleteFunc(all, func(i interaction) bool {
		return s.mode == consumer.Nak && (i.what == string(schema.NotFound) || i.what == string(schema.Rejected))
	})
}

// mixed gives n interactions in turn: every type and route, and every reason to fail (of all types). They end at the
// vendor after a time between a fifth of life and all of it.
func mixed(n int, life time.Duration) []interaction {
	var all []interaction
	types := schema.Types()
	for round := 0; len(all) < n; round++ {
		after := life * time.Duration(1+round%5) / 5
		// Twice as many are processed as fail.
		all = append(all, processed(after)...)
		all = append(all, processed(after)...)
		all = append(all, failing(types[round%len(types)], after)...)
	}
	return all[:n]
}

// declareAll makes interactions known to the vendor, expects their outcomes, and publishes their declared messages, all
// of which the broker has to accept.
func (s *scenario) declareAll(interactions []interaction) {
	s.t.Helper()
	for _, i := range interactions {
		s.expect(i)
	}
	work := make(chan interaction)
	errs := make(chan error, len(interactions))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range work {
				errs <- s.publish(i)
			}
		})
	}
	for _, i := range interactions {
		work <- i
	}
	close(work)
	wg.Wait()
	close(errs)
	for err := range errs {
		harness.Check(s.t, err)
	}
}

// expect makes an interaction known to the vendor, and expects its outcomes.
func (s *scenario) expect(i interaction) {
	if i.script != nil {
		s.vendor.Declare(i.identifier, *i.script)
	}
	s.types[i.identifier] = i.typ
	s.want.Add(i.identifier, i.kinds...)
}

// publish publishes a declared message until the broker has it: where an attempt gets no answer, a refusal of the next
// one says that the first was stored.
func (s *scenario) publish(i interaction) error {
	unknown := false
	return harness.Eventually(s.ctx, "the broker to accept "+i.identifier, func(ctx context.Context) error {
		err := s.declare(ctx, i)
		if unknown && isStoredAlready(err) {
			return nil
		}
		unknown = unknown || err != nil && !isStoredAlready(err)
		return err
	})
}

// declare publishes a declared message once.
func (s *scenario) declare(ctx context.Context, i interaction) error {
	bounded, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := s.js.Publish(bounded, schema.DeclaredSubject(i.typ, i.identifier), i.declaration())
	return err
}

// isStoredAlready recognises the refusal of a declared message whose like is stored.
func isStoredAlready(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == 10077
}

// finish waits for everything expected and until nothing is left in the streams, ends the workers in an orderly way,
// and prints the figures. What is lost, doubled or early fails the test.
func (s *scenario) finish() {
	s.t.Helper()
	awaited := s.oracle.Await(s.ctx, s.want)
	if awaited != nil {
		s.t.Error(awaited)
	} else if err := harness.AwaitDrained(s.ctx, s.js); err != nil {
		s.t.Error(err)
	}
	s.stop()
	ctx := s.ctx
	if ctx.Err() != nil {
		ctx = harness.Context(s.t, 10*time.Second) // time is up, but what is there is worth telling
	}
	report, err := s.oracle.Report(ctx, s.want)
	harness.Check(s.t, err)
	if err := report.Err(); err != nil {
		s.t.Error(err)
	}
	f := harness.Figures{
		Scenario: s.name, Interactions: len(s.types), Polls: s.vendor.Count(),
		Outcomes: report.Outcomes, Duplicates: len(report.Duplicates), Lost: len(report.Lost),
	}
	f.MinGap, f.Interval = s.leastGap()
	f.Print(s.t)
	early := s.early()
	if s.mayBeEarly > 0 {
		note(s.t, "scenario=%s early=%d in_flight_at_kills=%d", s.name, len(early), s.mayBeEarly)
	}
	if len(early) > s.mayBeEarly {
		s.t.Errorf(
			"%d polls came too early, want at most %d: %s",
			len(early),
			s.mayBeEarly,
			strings.Join(early[:min(len(early), 10)], "; "),
		)
	}
}

// stop ends the workers that still run, and wants them to leave in an orderly way.
func (s *scenario) stop() {
	s.t.Helper()
	for _, w := range s.workers {
		select {
		case <-w.Done():
			continue
		default:
		}
		harness.Check(s.t, w.Term())
		ctx := harness.Context(s.t, 25*time.Second)
		if code, err := w.Wait(ctx); err != nil || code != 0 {
			s.t.Errorf("a worker left with exit code %d (%v), want 0", code, err)
		}
	}
}

// leastGap is the least time between two polls of one interaction, of the type that came closest to its guidance.
func (s *scenario) leastGap() (gap, interval time.Duration) {
	for _, typ := range schema.Types() {
		g, _, ok := s.vendor.MinGapOf(func(id string) bool { return s.types[id] == typ })
		want := s.intervals.Of(typ)
		if ok && (interval == 0 || g-want < gap-interval) {
			gap, interval = g, want
		}
	}
	return gap, interval
}

// early lists the polls that came too early.
func (s *scenario) early() []string {
	var early []string
	last := make(map[string]time.Time)
	for _, p := range s.vendor.Polls() {
		typ, known := s.types[p.Identifier]
		if !known {
			s.t.Errorf("poll of %s, which nobody declared", p.Identifier)
			continue
		}
		if before, ok := last[p.Identifier]; ok && p.At.Sub(before) < s.intervals.Of(typ) {
			early = append(
				early,
				fmt.Sprintf("poll %d of %s %s after %v", p.Number, typ, p.Identifier, p.At.Sub(before)),
			)
		}
		last[p.Identifier] = p.At
	}
	return early
}

// note prints a line beside the figures, and appends it to their file.
func note(t *testing.T, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	fmt.Println(line)
	path := os.Getenv(harness.EnvFigures)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	harness.Check(t, err)
	_, err = fmt.Fprintln(file, line)
	harness.Check(t, errors.Join(err, file.Close()))
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
