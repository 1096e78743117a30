package explore

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// chooser decides what happens.
type chooser interface {
	// arrives returns the fate of an operation that arrives at the gate.
	arrives(o *operation) Fate
	// picks returns which of the operations that may happen now happens, and its fate; or an event. With neither, time
	// passes. The operations are in the order in which they arrived.
	picks(ready []*operation) choice
	// dropped is called with an operation that arrived, and does not happen.
	dropped(o *operation)
	// left is called with an operation that has not happened when the faults end.
	left(o *operation)
	// next returns when the next event of the chooser happens, and event returns it.
	next() (at time.Duration, ok bool)
	event() Event
}

// choice is an operation with its fate, or an event, or neither.
type choice struct {
	operation *operation
	fate      Fate
	event     *Event
	// patience is how long time may pass at most.
	patience time.Duration
	// abandon ends the history.
	abandon bool
}

// engine runs one history.
type engine struct {
	world   World
	stage   *stage.Stage
	fake    *fake.Broker
	oracle  *oracle
	chooser chooser
	began   time.Time

	mu       sync.Mutex
	incoming []*operation
	askers   map[string]*actor
	over     bool

	arrivals chan struct{} // wakes the explorer
	pending  []*operation
	workers  []*actor // by slot
	actors   []*actor // all that ever were
	restarts []restart
	timed    []timed
	// afterDeadLetter are the events that happen after the next dead letter of an interaction.
	afterDeadLetter map[string][]Event
	armed           []armed

	operators int
	away      time.Time // the broker is unreachable until then
	full      time.Time // its storage is full until then
	// Until staleUntil, reads answer from what was stored at staleFrom.
	staleFrom, staleUntil time.Time
	ending                bool // no more faults, no more restarts

	history History
	record  bool
	hash    uint64
}

// timed is something that the explorer does at a time.
type timed struct {
	at time.Time
	do func()
}

// History is the result of a run.
type History struct {
	// Violations are the broken invariants.
	Violations []Violation
	// Steps is the number of operations that happened. Faults counts faults by kind.
	Steps  int
	Faults map[string]int
	Polls  int
	// Abandoned means that the chooser ended it.
	Abandoned bool
	// Took is the virtual time, LeastGap the shortest time between two polls, as a share of the interval, and Slowest
	// the longest time after the faults until something that was due was polled.
	Took     time.Duration
	LeastGap float64
	// Early counts polls that were closer than the interval, with delayed naks.
	Early int
	// Hindered counts polls that were closer than the interval, because a poll was slow, and another fault kept its
	// worker from postponing the next one; or because a worker started after the broker's clock was set forward.
	Hindered int
	Slowest  time.Duration
	// Lines is the readable history, if it was recorded. Hash identifies it.
	Lines []string
	Hash  uint64
}

// run runs a history to its end, in a bubble.
func run(t *testing.T, w World, c chooser, record bool) (h History) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &engine{
			world: w, chooser: c, arrivals: make(chan struct{}, 1), askers: map[string]*actor{}, record: record,
			workers: make([]*actor, w.Workers), afterDeadLetter: map[string][]Event{},
		}
		x.oracle = newOracle(x)
		w.Broker.OnChange = x.oracle.changed
		x.stage = stage.New(t, stage.Options{Mode: w.Mode, InMemory: true, Worker: w.Config, Fake: w.Broker})
		x.fake, x.began = x.stage.Fake, time.Now()
		x.stage.Vendor.OnPoll(x.received)
		x.history.Faults = map[string]int{}
		x.play()
		x.close()
		h = x.history
	})
	return h
}

// play runs the history: first with faults, and then with healthy workers.
func (x *engine) play() {
	for slot := range x.workers {
		x.startWorker(slot)
	}
	for _, i := range x.world.Interactions {
		x.after(i.Declared, func() {
			if !i.Unknown && !i.Invalid {
				x.stage.Vendor.Declare(i.ID, i.script())
			}
			x.declareFirst(i)
		})
	}
	x.loop(x.began.Add(x.world.Faults), func() bool { return x.world.Early && x.idle() })
	if x.history.Abandoned {
		return
	}
	x.rest()
	x.oracle.finish()
}

// idle reports whether every interaction has ended, and no fault is at work.
func (x *engine) idle() bool {
	now := time.Now()
	for _, a := range x.actors {
		if a.stops(now) {
			return false
		}
	}
	for _, o := range x.pending {
		if o.at.After(now) {
			return false
		}
	}
	return len(x.timed) == 0 && len(x.restarts) == 0 && !now.Before(x.away) && x.oracle.settled()
}

// rest ends all faults, and lets healthy workers run.
func (x *engine) rest() {
	x.say("", "faults end")
	for _, o := range x.pending {
		if o.key != "" && !o.background && !o.copy {
			x.chooser.left(o)
		}
	}
	x.ending = true
	x.chooser = orderly{}
	x.away, x.staleUntil = time.Time{}, time.Time{}
	x.fake.SetFull(false)
	x.timed = slices.DeleteFunc(x.timed, func(t timed) bool { return t.do == nil })
	for _, a := range x.actors {
		a.stoppedUntil = time.Time{}
	}
	x.pending = slices.DeleteFunc(x.pending, func(o *operation) bool { return o.fate.Lost })
	for _, o := range x.pending {
		if o.key != "" {
			o.at, o.fate = time.Now(), Fate{}
		}
	}
	x.restarts = nil
	for slot, a := range x.workers {
		if slot == 0 || a.isDead() || !a.terminated.IsZero() {
			if !a.isDead() {
				x.terminate(a)
			}
			x.startWorker(slot)
		}
	}
	// What was on its way arrives now.
	x.loop(time.Now().Add(time.Second), func() bool { return false })
	x.oracle.calm(time.Now())
	x.loop(time.Now().Add(x.world.Rest), x.oracle.settled)
}

// loop makes one thing happen after another until a time, or until done returns true.
func (x *engine) loop(until time.Time, done func() bool) {
	for !x.history.Abandoned {
		synctest.Wait()
		x.intake()
		now := time.Now()
		if !now.Before(until) || len(x.history.Violations) > 0 || done() {
			return
		}
		if x.due(now) {
			continue
		}
		ready := x.ready(now)
		if len(ready) > 0 && ready[0].background && ready[0].fate == (Fate{}) {
			x.happens(ready[0], Fate{})
			continue
		}
		if len(ready) == 0 {
			x.wait(now, until)
			continue
		}
		switch c := x.chooser.picks(ready); {
		case c.abandon:
			x.history.Abandoned = true
		case c.event != nil:
			x.occurs(*c.event)
		case c.operation != nil:
			x.happens(c.operation, c.fate)
		default:
			if limit := now.Add(c.patience); limit.Before(until) {
				x.wait(now, limit)
			} else {
				x.wait(now, until)
			}
		}
	}
}

// after makes something happen at a time of the history.
func (x *engine) after(d time.Duration, do func()) {
	x.timed = append(x.timed, timed{x.began.Add(d), do})
}

// later makes something happen after a time from now.
func (x *engine) later(d time.Duration, do func()) {
	x.timed = append(x.timed, timed{time.Now().Add(d), do})
}

// due makes one thing happen whose time has come.
func (x *engine) due(now time.Time) bool {
	for n, t := range x.timed {
		if !t.at.After(now) {
			x.timed = slices.Delete(x.timed, n, n+1)
			t.do()
			return true
		}
	}
	for n, r := range x.restarts {
		if !r.at.After(now) {
			x.restarts = slices.Delete(x.restarts, n, n+1)
			x.say("", fmt.Sprintf("worker %d starts", r.slot))
			x.startWorker(r.slot)
			return true
		}
	}
	for slot, a := range x.workers {
		starts := slices.ContainsFunc(x.restarts, func(r restart) bool { return r.slot == slot })
		if x.hasEnded(a) && !a.isDead() && !starts {
			if a.terminated.IsZero() {
				x.violated("", "worker", "%s ended by itself: %v", a.name, a.err)
			}
			x.kill(a)
			return true
		}
	}
	if at, ok := x.chooser.next(); ok && !x.began.Add(at).After(now) {
		x.occurs(x.chooser.event())
		return true
	}
	return false
}

func (x *engine) hasEnded(a *actor) bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

func (a *actor) isDead() bool {
	select {
	case <-a.killed:
		return true
	default:
		return false
	}
}

// intake takes in the operations that have arrived, in an order that does not depend on the scheduler.
func (x *engine) intake() {
	x.mu.Lock()
	arrived := x.incoming
	x.incoming = nil
	x.mu.Unlock()
	slices.SortStableFunc(arrived, byName)
	for _, o := range arrived {
		if o.actor.isDead() && o.kind != answer {
			continue
		}
		if o.pull == nil || !o.pull.wait {
			x.draw(o)
		}
		x.pending = append(x.pending, o)
	}
}

// drop notes that an operation will not happen.
func (x *engine) drop(o *operation) {
	if o.settles() {
		x.oracle.unsettles(o.id)
	}
	if o.key != "" && !o.background {
		x.chooser.dropped(o)
	}
}

// draw names an operation, and draws its fate. A pull that waits is drawn when there is a message for it.
func (x *engine) draw(o *operation) {
	name := o.String()
	o.actor.counts[name]++
	o.key = fmt.Sprintf("%s %s #%d", o.actor.name, name, o.actor.counts[name])
	o.arrived = time.Now()
	o.fate = x.chooser.arrives(o)
	if o.fate.ok() && o.fate.Hold >= moment {
		x.history.Faults[o.fate.kind()]++
	}
	o.at = o.arrived.Add(o.fate.Hold)
}

// ready returns the operations that may happen now, in the order of their times. Operations of the background come
// first.
func (x *engine) ready(now time.Time) []*operation {
	var ready []*operation
	x.pending = slices.DeleteFunc(x.pending, func(o *operation) bool {
		expired := o.pull != nil && o.pull.wait && o.fate.Hold == 0 && !now.Add(time.Millisecond).Before(o.pull.expires)
		if expired = expired || o.gone.Load(); expired {
			x.drop(o)
		}
		return expired
	})
	var idle []*operation // pulls that have waited
	deliverable := map[pull]bool{}
	for _, o := range x.pending {
		if now.Before(o.at) || o.actor.stops(now) && !o.inTransit() {
			continue
		}
		if p := o.pull; p != nil {
			of := pull{stream: p.stream, consumer: p.consumer}
			can, known := deliverable[of]
			if !known {
				can = now.After(x.away) && x.fake.Ready(p.stream, p.consumer)
				deliverable[of] = can
			}
			if p.empty = !can; p.empty && p.wait {
				continue
			}
			if o.key == "" {
				idle = append(idle, o)
				continue
			}
		}
		ready = append(ready, o)
	}
	slices.SortStableFunc(idle, byName)
	for _, o := range idle {
		if x.draw(o); !now.Before(o.at) {
			ready = append(ready, o)
		}
	}
	slices.SortStableFunc(ready, func(a, b *operation) int {
		if a.background != b.background {
			if a.background {
				return -1
			}
			return 1
		}
		return a.at.Compare(b.at)
	})
	return ready
}

// byName orders operations that arrived at the same time: the order of goroutines does not matter then.
func byName(a, b *operation) int {
	return cmp.Or(strings.Compare(a.actor.name, b.actor.name), strings.Compare(string(a.kind), string(b.kind)),
		strings.Compare(a.object, b.object))
}

// wait lets time pass until something arrives at the gate, or something else can happen.
func (x *engine) wait(now, until time.Time) {
	wake := until
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(wake) {
			wake = t
		}
	}
	for _, o := range x.pending {
		sooner(o.at)
		sooner(o.actor.stoppedUntil)
	}
	for _, t := range x.timed {
		sooner(t.at)
	}
	for _, r := range x.restarts {
		sooner(r.at)
	}
	sooner(x.away)
	if at, ok := x.chooser.next(); ok {
		sooner(x.began.Add(at))
	}
	if at, ok := x.fake.NextEvent(); ok {
		sooner(at)
	}
	timer := time.NewTimer(wake.Sub(now))
	defer timer.Stop()
	select {
	case <-x.arrivals:
	case <-timer.C:
	}
}

// happens makes one operation happen, with its fate.
func (x *engine) happens(o *operation, f Fate) {
	if f.Hold > 0 && !o.at.Equal(o.arrived.Add(f.Hold)) { // chosen now, and not at its arrival
		o.fate, o.at = f, o.arrived.Add(f.Hold)
		x.fault(o, f)
		return
	}
	o.fate = f
	time.Sleep(quantum)
	synctest.Wait()
	if f.Stops > 0 && o.pull == nil && !o.stopped {
		o.stopped = true
		x.fault(o, f)
		x.oracle.hinders(o.actor, "")
		o.actor.stoppedUntil = time.Now().Add(f.Stops)
		return
	}
	x.pending = slices.DeleteFunc(x.pending, func(p *operation) bool { return p == o })
	x.history.Steps++
	if !f.ok() && f.Way == 0 || time.Since(o.arrived) > moment/2 {
		x.oracle.hinders(o.actor, o.id)
	}
	if o.settles() && (!f.ok() || time.Now().Before(x.away) || time.Since(o.arrived) > moment/2) {
		x.oracle.unsettles(o.id)
	}
	if !f.ok() && !o.stopped {
		x.fault(o, f)
	} else {
		x.say(o.actor.name, o.String())
	}
	switch {
	case f.Dies == Before:
		x.kill(o.actor)
		return
	case f.Redelivers > 0:
		x.later(f.Redelivers, func() {
			x.say("", "redelivers "+o.object)
			x.fake.Redeliver(o.delivery.Stream, o.delivery.Consumer, o.delivery.Sequence)
		})
		return
	case f.Lost, time.Now().Before(x.away) && o.kind != poll && o.kind != answer:
		return
	case f.Rejected:
		o.reply(result{err: &broker.Error{Op: string(o.kind), Object: o.object, Kind: broker.ErrRejected}})
		return
	}
	x.takesEffect(o, f)
}

func (x *engine) takesEffect(o *operation, f Fate) {
	if o.kind == poll {
		x.asks(o)
	}
	if stale := x.staleness(o, f); stale > 0 {
		x.fake.Inject(fake.Fault{Op: o.kind, Stale: stale})
	}
	if f.Keeps {
		x.fake.Inject(fake.Fault{Op: o.kind, Lost: fake.Removal})
	}
	if f.Commits > 0 {
		x.fake.Inject(fake.Fault{Op: o.kind, Commit: f.Commits})
	}
	value, err := o.do()
	if f.Keeps {
		x.oracle.keeps(o.id, o.delivery.Sequence)
	}
	if failed := (*broker.Error)(nil); errors.As(err, &failed) && answers(err) {
		x.say("", fmt.Sprintf("  %v", errors.Join(failed.Kind, failed.Cause)))
	}
	if f.Again > 0 {
		again := &operation{
			actor: o.actor, kind: o.kind, object: o.object + " (duplicate)", id: o.id, reads: o.reads, writes: o.writes,
			do: o.do, key: o.key + " again", arrived: time.Now(), at: time.Now().Add(f.Again),
			fate: Fate{Hold: f.Again}, copy: true,
		}
		x.pending = append(x.pending, again)
	}
	if f.Dies == After {
		x.kill(o.actor)
		return
	}
	if !f.Silent && answers(err) {
		o.reply(result{value, err})
	}
	if f.Stops > 0 && o.pull != nil {
		o.actor.stoppedUntil = time.Now().Add(f.Stops)
	}
}

// staleness returns how old the state is that a read answers from.
func (x *engine) staleness(o *operation, f Fate) time.Duration {
	if now := time.Now(); f.Stale == 0 && o.readsMessages() && now.Before(x.staleUntil) {
		return now.Sub(x.staleFrom)
	}
	return f.Stale
}

// deadLettered is called when a dead letter of an interaction is stored.
func (x *engine) deadLettered(id string) {
	for _, e := range x.afterDeadLetter[id] {
		x.later(e.For, func() { _ = x.declare(x.typeOf(id), id) })
		if now := time.Now(); e.Kind == DeclaresUnread && !x.ending && !now.Before(x.staleUntil) {
			x.staleFrom, x.staleUntil = now.Add(-1), now.Add(e.For+tooLong)
		}
	}
	delete(x.afterDeadLetter, id)
}

// occurs makes an event happen.
func (x *engine) occurs(e Event) {
	time.Sleep(quantum)
	synctest.Wait()
	x.say("", e.String())
	x.history.Faults[string(e.Kind)]++
	switch e.Kind {
	case Declares:
		_ = x.declare(x.typeOf(e.ID), e.ID) // it counts only if it is stored
	case RetypeDeclares:
		_ = x.declare(another(x.typeOf(e.ID)), e.ID)
	case DeclaresAfter, DeclaresUnread:
		x.afterDeadLetter[e.ID] = append(x.afterDeadLetter[e.ID], e)
	case Replaced:
		x.staleFrom, x.staleUntil = time.Now(), time.Now().Add(e.For)
	case Replays, Purges:
		x.operate(e)
	case Restarts:
		x.restarted()
		x.fake.Restart()
		x.endPulls()
	case Crashes:
		x.oracle.forgotten()
		x.fake.Crash()
		x.endPulls()
	case StepsDown:
		x.restarted()
		x.oracle.skews(e.For)
		x.fake.SetClock(e.For)
		x.fake.StepDown()
		x.endPulls()
	case Away:
		x.oracle.hinders(nil, "")
		x.away = time.Now().Add(e.For)
		x.endPulls()
	case Full:
		x.oracle.hinders(nil, "")
		x.fake.SetFull(true)
		x.full = time.Now().Add(e.For)
		x.later(e.For, func() {
			x.say("", "storage is not full")
			x.fake.SetFull(false)
		})
	case Redelivers:
		x.oracle.unsettles(e.ID)
		for _, d := range x.oracle.waiting(e.ID) {
			for _, consumer := range x.consumersOf(d.stream) {
				x.fake.Redeliver(d.stream, consumer, d.sequence)
			}
		}
	case Kills:
		x.kill(x.workers[e.Worker%len(x.workers)])
	case Terminates:
		x.terminate(x.workers[e.Worker%len(x.workers)])
	case Stops:
		x.oracle.hinders(x.workers[e.Worker%len(x.workers)], "")
		x.workers[e.Worker%len(x.workers)].stoppedUntil = time.Now().Add(e.For)
	}
}

// restarted notes the deliveries whose settlement is on its way while the broker restarts.
func (x *engine) restarted() {
	for _, o := range x.pending {
		if o.settles() {
			x.oracle.unsettles(o.id)
		}
	}
}

// endPulls ends the pulls that wait, as the broker does when it has forgotten them.
func (x *engine) endPulls() {
	x.pending = slices.DeleteFunc(x.pending, func(o *operation) bool {
		if o.pull == nil {
			return false
		}
		x.drop(o)
		o.reply(result{err: &broker.Error{Op: string(fake.Pull), Object: o.object, Kind: broker.ErrNoAnswer}})
		return true
	})
}

// terminate sends SIGTERM to a worker.
func (x *engine) terminate(a *actor) {
	if a.terminated.IsZero() && !a.isDead() {
		a.terminated = time.Now()
		x.oracle.terminated(a)
		a.stop()
	}
}

func (x *engine) consumersOf(stream string) []string {
	if stream == ns.StreamDeclared() && x.world.Mode == "schedule" {
		return []string{ns.ConsumerIntake()}
	}
	var all []string
	for _, t := range schema.Types() {
		all = append(all, ns.PollConsumer(t))
	}
	return all
}

func (x *engine) typeOf(id string) schema.Type {
	for _, i := range x.world.Interactions {
		if i.ID == id {
			return i.Type
		}
	}
	return schema.Chat
}

// another returns another type.
func another(t schema.Type) schema.Type {
	if t == schema.Chat {
		return schema.Audio
	}
	return schema.Chat
}

// declareFirst declares an interaction, and repeats that until the broker stores the message.
func (x *engine) declareFirst(i Interaction) {
	if err := x.declare(i.Type, i.ID); err != nil && !errors.Is(err, broker.ErrMaxPerSubject) {
		x.later(time.Second, func() { x.declareFirst(i) })
	}
}

// declare publishes a declared message.
func (x *engine) declare(t schema.Type, id string) error {
	ctx, cancel := instant()
	defer cancel()
	_, err := x.fake.Publish(ctx, broker.Publication{
		Subject: ns.DeclaredSubject(t, id), Data: stage.Declaration(t, id),
	})
	text := fmt.Sprintf("publishes declared.%s.%s", t, short(id))
	if failed := (*broker.Error)(nil); errors.As(err, &failed) {
		text += fmt.Sprintf(": %v", errors.Join(failed.Kind, failed.Cause))
	}
	x.say("producer", text)
	return err
}

// close ends everything in the bubble.
func (x *engine) close() {
	x.ending = true
	x.mu.Lock()
	x.over = true
	x.mu.Unlock()
	for _, a := range x.actors {
		x.kill(a)
	}
	for _, a := range x.actors {
		<-a.ended
	}
	x.history.Took = time.Since(x.began)
	x.history.Hash = x.hash
}

// fault notes a fault.
func (x *engine) fault(o *operation, f Fate) {
	if kind := f.kind(); kind != "" {
		x.history.Faults[kind]++
	}
	text := o.String()
	if waited := time.Since(o.arrived); waited > time.Millisecond {
		text += " after " + waited.String()
	}
	f.Hold = 0
	x.say(o.actor.name, text+": "+f.String())
}

// say adds a line to the history.
func (x *engine) say(who, what string) {
	h := fnv.New64a()
	fmt.Fprint(h, x.hash, time.Since(x.began), who, what)
	x.hash = h.Sum64()
	if x.record {
		x.history.Lines = append(x.history.Lines,
			fmt.Sprintf("%11.6f %-9s %s", time.Since(x.began).Seconds(), who, what))
	}
}

// violated notes a violation.
func (x *engine) violated(id, invariant, format string, args ...any) {
	v := Violation{Invariant: invariant, ID: id, Text: fmt.Sprintf(format, args...)}
	x.history.Violations = append(x.history.Violations, v)
	x.say("", "VIOLATED "+v.String())
}
