package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// plan is what the workload does with an interaction.
type plan struct {
	typ schema.Type
	// differs are the flags that are not at their default.
	differs []schema.Flag
	// script is the vendor's; nil if the vendor does not know the interaction.
	script *simulator.Script
	// invalid means that the declared message is not valid.
	invalid bool
	// twice is when the interaction is declared a second time after its first acknowledgement; 0 is never.
	twice time.Duration
	// again is what happens after a dead letter: declared again or replayed. Then the vendor processes it.
	again again
	// processedAgain means that the interaction is declared again after its processed events, which changes nothing.
	processedAgain bool
}

type again string

const (
	declareAgain again = "declared again"
	replayAgain  again = "replayed"
)

// message returns the declared message.
func (p plan) message(id string) []byte {
	if p.invalid {
		return []byte(`{"type":`)
	}
	message := fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":%q`, id, p.typ)
	for _, f := range p.differs {
		message = fmt.Appendf(message, `,%q:%t`, f, !f.Default())
	}
	return append(message, '}')
}

// identifier returns the identifier of the n-th interaction of a seed.
func identifier(seed uint64, n int) string {
	return fmt.Sprintf("%08x-%04x-4000-8000-%012x", uint32(seed), uint16(seed>>32), n)
}

// planned returns the plan of the n-th interaction of a seed. endless means that it may wait for its deadline.
func (s settings) planned(seed uint64, n int, endless bool) plan {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	types := s.types
	if len(types) == 0 {
		types = schema.Types()
	}
	p := plan{typ: types[r.IntN(len(types))]}
	within := s.ends
	if within == 0 {
		within = 4 * s.intervals.Of(p.typ)
	}
	ends := func() time.Duration { return time.Duration(r.Float64() * float64(within)) }
	if r.IntN(5) == 0 {
		p.differs = schema.Flags()[:1]
	}
	// Every answer is delayed a little, so that polls are in flight at any time.
	delayed := simulator.Fault{Kind: simulator.Delayed, Delay: time.Duration(5+r.IntN(115)) * time.Millisecond}
	script := simulator.Processed(ends())
	fails := false
	switch k := r.IntN(1000); {
	case k < 150: // a documented failure
		var failures []schema.Status
		for _, status := range schema.Statuses() {
			if status.Meaning() == schema.Failed {
				failures = append(failures, status)
			}
		}
		status := failures[r.IntN(len(failures))]
		script, fails = simulator.Failed(status, ends()*3/4), true
	case k < 165:
		script, fails = simulator.Constant(failedStatus), true
	case s.brief:
	// With delayed naks, each worker counts refusals for itself: they may not be confirmed within the deadline.
	case k < 180 && s.mode == consumer.Schedule:
		p.script, fails = nil, true
		p.again = []again{"", declareAgain}[r.IntN(2)]
		return s.repeated(r, p, fails)
	case k < 190 && s.mode == consumer.Schedule:
		script, fails = simulator.Never().With(simulator.Refusal(400)), true
	case k < 192 && endless:
		script = simulator.Never()
	case k < 197:
		p.invalid = true
	case k < 240: // errors for a while
		script = script.With(errorsOf(r).On(1, 1+r.IntN(3)))
	case k < 270:
		delayed.Delay = time.Duration(300+r.IntN(1400)) * time.Millisecond // slow, within the timeout
	}
	script = script.With(delayed)
	p.script = &script
	return s.repeated(r, p, fails)
}

// repeated adds that an interaction is declared more than once.
func (s settings) repeated(r *rand.Rand, p plan, fails bool) plan {
	if s.brief {
		return p
	}
	if r.IntN(20) == 0 {
		p.twice = time.Duration(1+r.IntN(3000)) * time.Millisecond
	}
	switch k := r.IntN(10); {
	case p.invalid:
	case fails && k < 3:
		p.again = declareAgain
	case fails && k < 5:
		p.again = replayAgain
	case !fails && k == 0:
		p.processedAgain = r.IntN(4) == 0
	}
	return p
}

// errorsOf returns an error of the vendor that is not the interaction's failure.
func errorsOf(r *rand.Rand) simulator.Fault {
	all := []simulator.Fault{
		simulator.Refusal(500), simulator.Refusal(503), simulator.Page(404), simulator.Page(502),
		{Kind: simulator.Reset}, {Kind: simulator.Truncated}, {Kind: simulator.WrongIdentifier},
		{Kind: simulator.NotJSON}, {Kind: simulator.OtherStatus, Status: "queuedForReview"},
	}
	return all[r.IntN(len(all))]
}

// workload declares interactions. An unacknowledged declaration may have been stored.
type workload struct {
	settings settings
	seed     uint64
	vendor   *simulator.Simulator
	oracle   *oracle
	js       jetstream.JetStream
	queue    *dlq.Queue

	// publishing is held for reading while a declared message is published, and for writing by [workload.paused].
	publishing sync.RWMutex
	slots      chan struct{} // limits concurrent publishes
	// pending is the number of interactions that are being declared, or will be declared again.
	pending atomic.Int64

	acknowledged, unacknowledged atomic.Int64
	replays                      atomic.Int64
}

// maxPublishing limits the number of interactions that are being declared, while the broker does not answer.
const maxPublishing = 256

// steady are the options of connections of the oracle and of the workload: they notice a stopped server within seconds,
// and publish nothing late.
func steady() []nats.Option {
	return []nats.Option{
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.ReconnectBufSize(-1),
		nats.Timeout(time.Second),
	}
}

// newWorkload connects to the broker, whose streams must exist.
func newWorkload(ctx context.Context, r *run) (*workload, error) {
	w := &workload{
		settings: r.settings, seed: r.seed, vendor: r.tier.Vendor(), oracle: r.oracle,
		js: harness.JetStream(r.t, r.tier.Brokers(), steady()...), slots: make(chan struct{}, maxPublishing),
	}
	err := harness.Eventually(ctx, "the streams", func(ctx context.Context) (err error) {
		w.queue, err = dlq.NewForDeletion(ctx, adapter.New(w.js), ns)
		return err
	})
	return w, err
}

// declareAll declares n interactions at a steady rate within a time. If the broker does not answer, it catches up
// later. It returns when the last one is being declared, or ctx ends.
func (w *workload) declareAll(ctx context.Context, n int, within time.Duration) {
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for declared := 0; declared < n; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		elapsed := time.Since(began)
		due := min(n, int(float64(n)*float64(elapsed)/float64(within)))
		for ; declared < due; declared++ {
			select {
			case w.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			id := identifier(w.seed, declared)
			// One that waits for its deadline must reach it before the end.
			p := w.settings.planned(w.seed, declared, within-elapsed > w.settings.deadline)
			if p.script != nil {
				w.vendor.Declare(id, *p.script)
			}
			w.oracle.declares(id, p)
			w.pending.Add(1)
			go func() {
				defer w.pending.Add(-1)
				w.declare(ctx, id, p, true)
				<-w.slots
				if p.twice > 0 && wait(ctx, p.twice) {
					w.declareTwice(ctx, id, p)
				}
			}()
		}
	}
}

// repeat declares an interaction again, or replays its dead letter, after an outcome was read. The order of the outcome
// and the new message is clear even if the clocks of two servers differ.
func (w *workload) repeat(ctx context.Context, id string, p plan, failed bool) {
	if failed && p.again == "" || !failed && !p.processedAgain {
		return
	}
	w.pending.Add(1)
	go func() {
		defer w.pending.Add(-1)
		if !wait(ctx, 1500*time.Millisecond) {
			return
		}
		if failed {
			w.vendor.Declare(id, simulator.Processed(w.settings.intervals.Of(p.typ)))
		}
		if failed && p.again == replayAgain {
			w.replay(ctx, id)
			return
		}
		w.declare(ctx, id, p, false)
	}()
}

// declare publishes a declared message until it is acknowledged. The first one of an interaction is also acknowledged
// if the broker rejects it because one is stored, and it can be read: the leader of a replicated stream also rejects it
// because of one that is not stored yet, and may never be. Later, the stored one may have been stored before the dead
// letter, without effect.
func (w *workload) declare(ctx context.Context, id string, p plan, first bool) {
	subject, message := ns.DeclaredSubject(p.typ, id), p.message(id)
	began := time.Now()
	uncertain := false
	for ctx.Err() == nil {
		sent := time.Now()
		err := w.publish(ctx, id, subject, message)
		rejected := adapter.MaxPerSubject(err)
		if first && rejected && w.isStored(ctx, subject) {
			sent, err = began, nil
		}
		if err == nil {
			w.oracle.acknowledged(id, sent)
			w.acknowledged.Add(1)
			return
		}
		uncertain = uncertain || !rejected
		if !wait(ctx, 200*time.Millisecond) {
			break
		}
	}
	if uncertain {
		w.unacknowledged.Add(1)
	}
}

// publish publishes a declared message once.
func (w *workload) publish(ctx context.Context, id, subject string, message []byte) error {
	w.publishing.RLock()
	defer w.publishing.RUnlock()
	w.oracle.attempted(id)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := w.js.Publish(ctx, subject, message)
	return err
}

// isStored reports whether a declared message can be read.
func (w *workload) isStored(ctx context.Context, subject string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	stream, err := w.js.Stream(ctx, ns.StreamDeclared())
	if err != nil {
		return false
	}
	_, err = stream.GetLastMsgForSubject(ctx, subject)
	return err == nil
}

// declareTwice publishes a declared message once. It may be rejected, because the first one is still stored.
func (w *workload) declareTwice(ctx context.Context, id string, p plan) {
	sent := time.Now()
	if err := w.publish(ctx, id, ns.DeclaredSubject(p.typ, id), p.message(id)); err == nil {
		w.oracle.acknowledged(id, sent)
	}
}

// replay replays the dead letter of an interaction, until that has a result. An attempt may end at any point. One that
// finds no dead letter is repeated: dlq reads from any replica, which may not have it yet.
func (w *workload) replay(ctx context.Context, id string) {
	w.oracle.replaying(id, true)
	defer w.oracle.replaying(id, false)
	const enough = 20
	interrupted := false
	for missing := 0; ctx.Err() == nil && missing < enough; {
		began := time.Now()
		found, err := w.replayOnce(ctx, id)
		switch {
		case err == nil && found:
			w.oracle.acknowledged(id, began)
			w.replays.Add(1)
			return
		case err != nil:
			interrupted = true
		case interrupted: // an attempt that was interrupted may have replayed it
			missing++
		}
		if !wait(ctx, 200*time.Millisecond) {
			return
		}
	}
}

// replayOnce reports whether a dead letter of the interaction was found, and none is left.
func (w *workload) replayOnce(ctx context.Context, id string) (found bool, err error) {
	w.publishing.RLock()
	defer w.publishing.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	selection, err := w.queue.Select(ctx, dlq.Filter{Names: []string{id}})
	if err != nil {
		return false, err
	}
	w.oracle.attempted(id)
	unchanged := false
	var mu sync.Mutex
	err = w.queue.Replay(ctx, selection, false, func(_ dlq.DeadLetter, result dlq.Result) {
		mu.Lock()
		defer mu.Unlock()
		switch result.Action {
		case dlq.Waiting:
		case dlq.Unchanged:
			unchanged = true
		default:
			found = true
		}
	})
	return found && !unchanged, err
}

// paused calls do while nothing is published.
func (w *workload) paused(do func() error) error {
	w.publishing.Lock()
	defer w.publishing.Unlock()
	return do()
}

// wait waits, and reports whether ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
