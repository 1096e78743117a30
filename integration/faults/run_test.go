package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/consumer/redelivery"
	"statusworker/integration/harness"
)

// smoke is the duration of a run without flags. Longer ones need time to prepare, too.
const smoke = 10 * time.Second

// The flags of every tier.
var (
	flagSeed         = flag.Uint64("seed", 1, "chooses interactions and faults")
	flagDuration     = flag.Duration("duration", smoke, "how long interactions are declared")
	flagInteractions = flag.Int("interactions", 200, "number of interactions")
	flagRedelivery   = flag.String("redelivery", "schedule", "redelivery mode: schedule or nak")
	flagKinds        = flag.String("kinds", "", "only kinds of faults that match this regular expression")
	flagRecord       = flag.String("record", "", "document in which the figures are replaced, relative to the module")
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// run is a run of a tier.
type run struct {
	t        *testing.T
	name     string
	settings settings
	seed     uint64
	tier     tier
	oracle   *oracle
	workload *workload
	js       jetstream.JetStream
	began    time.Time
	commit   string
	cancel   context.CancelCauseFunc
	wg       sync.WaitGroup

	random *rand.Rand // of the scheduler's goroutine
	active atomic.Int64

	mu         sync.Mutex
	events     []*event
	violations map[string]int
	hindered   int
	recovering time.Duration // the longest time until a tier had recovered
	calms      int
	took       time.Duration
	filled     time.Time // when the broker could not store messages
	empty      bool      // everything has drained
}

// event is a fault that happens or has happened.
type event struct {
	kind     *kind
	from, to time.Time // to is zero while it is active
	struck
}

func (e *event) String() string {
	text := e.kind.name
	if e.target != "" {
		text += ": " + e.target
	}
	if e.state != "" {
		text += " (" + e.state + ")"
	}
	return text
}

// maxViolations ends a run.
const maxViolations = 20

var errViolations = errors.New("too many violations")

// play runs a tier. The function start starts its servers, provisions the streams, and starts the workers.
func play(t *testing.T, name string, s settings, start func(*run) tier) {
	s.mode = consumer.Mode(*flagRedelivery)
	if !slices.Contains([]consumer.Mode{consumer.Schedule, consumer.Nak}, s.mode) {
		t.Fatalf("-redelivery is %q; must be schedule or nak", s.mode)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	r := &run{
		t: t, name: name, settings: s, seed: *flagSeed, cancel: cancel, violations: map[string]int{},
		random: rand.New(rand.NewPCG(*flagSeed, 0)), began: time.Now(), commit: commit(),
	}
	r.oracle = newOracle(r)
	r.tier = start(r)
	r.js = harness.JetStream(t, r.tier.Brokers(), steady()...)
	r.tier.Vendor().OnPoll(r.oracle.polled)
	var err error
	r.workload, err = newWorkload(ctx, r)
	harness.Check(t, err)
	r.oracle.outcome = func(id string, p plan, failed bool) { r.workload.repeat(ctx, id, p, failed) }
	r.wg.Go(func() { r.oracle.watch(ctx, r.js) })

	r.began = time.Now()
	r.all(ctx)
	r.took = time.Since(r.began)
	if err := r.tier.Stop(context.WithoutCancel(ctx)); err != nil {
		t.Error(err)
	}
	cancel(nil)
	r.wg.Wait()
	r.report()
}

// all declares all interactions, with storms and calms, until everything has drained.
func (r *run) all(ctx context.Context) {
	declared := make(chan struct{})
	r.wg.Go(func() {
		defer close(declared)
		r.workload.declareAll(ctx, *flagInteractions, *flagDuration)
	})
	only, err := regexp.Compile(*flagKinds)
	harness.Check(r.t, err)
	kinds := slices.DeleteFunc(append(vendorKinds(r.tier.Vendor(), r.settings), r.tier.Kinds()...), func(k *kind) bool {
		return !only.MatchString(k.name)
	})
	for end := r.began.Add(*flagDuration); time.Now().Before(end) && ctx.Err() == nil; {
		length := r.settings.longer(time.Duration(30+r.random.IntN(30)) * time.Second)
		length = min(*flagDuration/3, length, time.Until(end))
		if err := r.round(ctx, kinds, length); err != nil && ctx.Err() == nil {
			r.t.Errorf("%s after the beginning, seed %d: %v", time.Since(r.began).Round(time.Millisecond), r.seed, err)
			return
		}
	}
	select {
	case <-declared:
	case <-ctx.Done():
		return
	}
	if err := r.drained(ctx); err != nil {
		r.t.Errorf("I5: %v (seed %d)", err, r.seed)
	} else {
		r.empty = true
	}
	r.oracle.finish()
}

// round is a storm and the calm after it.
func (r *run) round(ctx context.Context, kinds []*kind, length time.Duration) error {
	began := len(r.events)
	r.storm(ctx, kinds, length)
	if err := r.recover(ctx); err != nil {
		return err
	}
	pause, filled := r.pauses(r.events[began:])
	if filled {
		r.filled = time.Now()
	}
	r.calms++
	err := r.oracle.calm(ctx, r.js, pause, time.Since(r.filled) < 5*redelivery.OverdueAfter/2)
	r.t.Logf("%s: %d faults, %d interactions, %d polls", r.since(time.Now()), len(r.events), r.oracle.known(),
		r.tier.Vendor().Count())
	return err
}

// recover waits until the tier works again.
func (r *run) recover(ctx context.Context) error {
	began := time.Now()
	cause := errors.New("the tier has not recovered within 3 minutes")
	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Minute, cause)
	defer cancel()
	err := r.tier.Recover(ctx)
	r.recovering = max(r.recovering, time.Since(began))
	return err
}

// pauses returns for how long workers may pause after faults, because of the vendor, and whether the broker could not
// store messages.
func (r *run) pauses(events []*event) (pause time.Duration, filled bool) {
	for _, e := range events {
		filled = filled || e.kind.fills
		if e.kind.vendor {
			pause += 2*e.to.Sub(e.from) + 2*time.Second
		}
	}
	return pause, filled
}

// drained waits until nothing waits: all declarations are acknowledged, and the streams in which interactions wait are
// empty.
func (r *run) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.settings.deadline+5*time.Minute, errors.New("not drained in time"))
	defer cancel()
	for {
		if err := harness.AwaitDrained(ctx, r.js); err != nil {
			return err
		}
		if err := r.oracle.caughtUp(ctx, r.js); err != nil {
			return err
		}
		if r.workload.pending.Load() == 0 {
			left, err := harness.Left(ctx, r.js)
			if err == nil && len(left) == 0 && r.workload.pending.Load() == 0 {
				return nil
			}
		}
		if !wait(ctx, 250*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// violated reports a broken invariant of an interaction, or of none. The oracle's lock is held.
func (r *run) violated(invariant, id, text string, l *interaction) {
	now := time.Now()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s %s (%s after the beginning, seed %d)\n", invariant, id, text, r.since(now), r.seed)
	if l != nil {
		fmt.Fprintf(&b, "  %s, declared at %s, acknowledged", l.plan.typ, r.since(l.declared))
		for _, at := range l.acknowledged {
			fmt.Fprintf(&b, " %s", r.since(at))
		}
		fmt.Fprintf(&b, ", %d attempts\n", l.attempts)
		for n, p := range l.polls {
			if n < 5 || n >= len(l.polls)-10 {
				fmt.Fprintf(&b, "  poll %d at %s: %d %s %s %s\n", n+1, r.since(p.at), p.code, p.status, p.fault, p.by)
			}
		}
		for _, s := range l.outcomes {
			fmt.Fprintf(&b, "  %s, generation %s, stored %s, sequence %d\n", s.Subject,
				r.since(s.Generation), r.since(s.Stored), s.Sequence)
		}
	}
	r.mu.Lock()
	shown := 0
	for _, e := range slices.Backward(r.events) {
		ended := !e.to.IsZero()
		if shown == maxFaults || ended && now.Sub(e.to) > 20*time.Second && (l == nil || !l.during(e.from, e.to)) {
			continue
		}
		until := "now"
		if ended {
			until = r.since(e.to).String()
		}
		fmt.Fprintf(&b, "  fault from %s to %s: %s\n", r.since(e.from), until, e)
		shown++
	}
	r.violations[invariant]++
	total := 0
	for _, n := range r.violations {
		total += n
	}
	r.mu.Unlock()
	r.t.Error(b.String())
	if id != "" {
		r.wg.Go(func() {
			r.t.Logf("%s: stored for %s: %s", invariant, id, r.messages(id))
			if t, ok := r.tier.(logged); ok {
				r.t.Logf("%s: logged for %s:\n%s", invariant, id, strings.Join(t.logged(id), "\n"))
			}
		})
	}
	if total >= maxViolations {
		r.cancel(errViolations)
	}
}

// hinders reports whether a poll may be early because the one before it was long on its way to the vendor, and another
// fault kept its worker from postponing it. It counts such polls.
func (r *run) hinders(id string, first, second poll) bool {
	t, ok := r.tier.(linked)
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !t.hindered(first, second, r.events) {
		return false
	}
	r.hindered++
	r.t.Logf("hindered: polls of %s, by %s at %s and by %s at %s", id, first.by, r.since(first.at), second.by,
		r.since(second.at))
	return true
}

// maxFaults is how many faults are printed with a violation.
const maxFaults = 40

// during reports whether something happened to the interaction during a fault, or some seconds before or after.
func (l *interaction) during(from, to time.Time) bool {
	near := func(t time.Time) bool { return t.After(from.Add(-5*time.Second)) && t.Before(to.Add(5*time.Second)) }
	return near(l.declared) || slices.ContainsFunc(l.acknowledged, near) ||
		slices.ContainsFunc(l.polls, func(p poll) bool { return near(p.at) })
}

func (r *run) since(t time.Time) time.Duration { return t.Sub(r.began).Round(time.Millisecond) }

// messages returns the messages that are stored for an interaction that waits.
func (r *run) messages(id string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), 5*time.Second)
	defer cancel()
	var all []string
	for stream, subjects := range map[string][]string{
		ns.StreamDeclared(): {ns.DeclaredSubjects(id)},
		ns.StreamPolls():    {ns.HoldSubjects(id), ns.PollSubjects(id)},
		ns.StreamOutcomes(): {ns.ProcessedSubject("*", id), ns.FailedSubjects(id)},
	} {
		for _, subject := range subjects {
			s, err := r.js.Stream(ctx, stream)
			if err != nil {
				return err.Error()
			}
			m, err := s.GetLastMsgForSubject(ctx, subject)
			switch {
			case errors.Is(err, jetstream.ErrMsgNotFound):
			case err != nil:
				return err.Error()
			default:
				all = append(all, fmt.Sprintf("%s @%d at %s %v", m.Subject, m.Sequence, r.since(m.Time), m.Header))
			}
		}
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, "; ")
}
