package explore

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// orderly lets every operation succeed, in the order in which they arrive.
type orderly struct{}

func (orderly) arrives(*operation) Fate { return Fate{} }
func (orderly) picks(ready []*operation) choice {
	return choice{operation: ready[0], fate: ready[0].fate}
}
func (orderly) next() (at time.Duration, ok bool) { return 0, false }
func (orderly) left(*operation)                   {}
func (orderly) dropped(*operation)                {}
func (orderly) event() Event                      { panic("there is no event") }

// Plan is a history as the list of what differs from the default: everything succeeds at once, in order.
type Plan struct {
	Seed         uint64  `json:"seed"`
	Mode         string  `json:"mode"`
	Interactions int     `json:"interactions"`
	Without      []int   `json:"without,omitempty"` // interactions that are not declared
	Faults       []Fault `json:"faults,omitempty"`
	Events       []Event `json:"events,omitempty"`
}

// Fault is the fate of one operation.
type Fault struct {
	Operation string `json:"operation"`
	Fate
}

// planned follows a plan.
type planned struct {
	orderly
	fates  map[string]Fate
	events []Event
}

func newPlanned(p Plan) *planned {
	c := &planned{fates: map[string]Fate{}, events: slices.Clone(p.Events)}
	for _, f := range p.Faults {
		c.fates[f.Operation] = f.Fate
	}
	slices.SortStableFunc(c.events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	return c
}

func (c *planned) arrives(o *operation) Fate { return c.fates[o.key] }

func (c *planned) next() (at time.Duration, ok bool) {
	if len(c.events) == 0 {
		return 0, false
	}
	return c.events[0].At, true
}

func (c *planned) event() Event {
	e := c.events[0]
	c.events = c.events[1:]
	return e
}

// random chooses at random, and records its choices as a plan.
type random struct {
	planned
	r *rand.Rand
	// share is the share of operations that get a fault, rest the number of faults that may still happen.
	share float64
	rest  int
	// calm excludes wrong answers of the vendor.
	calm bool
	plan *Plan
}

// expected is about how many operations of an interaction can get a fault.
const expected = 30

func newRandom(seed uint64, w World, faults int, plan *Plan) *random {
	r := rand.New(rand.NewPCG(seed, 2))
	c := &random{r: r, plan: plan}
	for range faults / 3 {
		plan.Events = append(plan.Events, randomEvent(r, w))
	}
	c.rest = faults - len(plan.Events)
	c.share = 2.5 * float64(c.rest) / float64(expected*len(w.Interactions))
	c.planned = *newPlanned(*plan)
	return c
}

// shareOf is the share of operations of this kind that get a fault. Polls are few, and have the most kinds of faults.
func (c *random) shareOf(o *operation) float64 {
	switch {
	case o.background:
		return c.share / 10
	case o.kind == poll, o.kind == answer:
		return 3 * c.share
	}
	return c.share
}

func (c *random) arrives(o *operation) (f Fate) {
	switch p := c.r.Float64(); {
	case p < c.shareOf(o) && c.rest > 0:
		f = c.fault(o)
	case p > 0.9 && !o.background && o.kind != poll && o.kind != answer:
		f.Hold = time.Duration(1+c.r.IntN(3000)) * time.Microsecond
	default:
		return f
	}
	c.plan.Faults = append(c.plan.Faults, Fault{o.key, f})
	return f
}

// PCT chooses at random, and lets the operations of workers with a low priority wait: they happen when no worker with
// a higher priority has any. Time has a priority as well. At some of its choices the one with the highest priority gets
// the lowest. (Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding bugs", 2010.)
type PCT struct {
	random
	priorities map[string]int
	lowest     int
	// changes are the choices at which a priority changes.
	changes []int
	chosen  int
	// bound is how long an operation waits at most.
	bound time.Duration
}

// clock is the name of time among the priorities.
const clock = "time"

// choices is about how many choices a history of an interaction has.
const choices = 50

func newPCT(seed uint64, w World, faults, changes int, plan *Plan) *PCT {
	r := rand.New(rand.NewPCG(seed, 3))
	c := &PCT{random: *newRandom(seed, w, faults, plan), priorities: map[string]int{}}
	c.bound = []time.Duration{300 * time.Millisecond, 2 * time.Second, 5 * time.Second, 12 * time.Second}[r.IntN(4)]
	for range changes {
		c.changes = append(c.changes, r.IntN(choices*len(w.Interactions)))
	}
	return c
}

func (c *PCT) arrives(o *operation) Fate {
	if o.background {
		return c.random.arrives(o)
	}
	of := Fate{}
	if c.rest > 0 && c.r.Float64() < c.shareOf(o) {
		of = c.fault(o)
	}
	if o.travels() {
		of.Hold = max(of.Hold, 1) // it was sent, and waits on its way
	}
	return of
}

// picks implements chooser. It records how long the operation has waited as its hold.
func (c *PCT) picks(ready []*operation) choice {
	for _, o := range ready {
		if o.stopped || o.background || o.copy { // they do not wait for others
			return choice{operation: o, fate: o.fate}
		}
	}
	best := slices.MaxFunc(ready, func(a, b *operation) int {
		return cmp.Compare(c.priority(a.actor.name), c.priority(b.actor.name))
	})
	for _, o := range ready { // the first of its worker
		if o.actor == best.actor {
			best = o
			break
		}
	}
	oldest := slices.MinFunc(ready, func(a, b *operation) int { return a.arrived.Compare(b.arrived) })
	waited := time.Since(oldest.arrived)
	if waited >= c.bound {
		best = oldest
	}
	name := best.actor.name
	if c.priority(clock) > c.priority(name) && waited < c.bound {
		name = clock
	}
	c.chosen++
	if slices.Contains(c.changes, c.chosen) {
		c.lowest--
		c.priorities[name] = c.lowest
	}
	if name == clock {
		return choice{patience: c.bound - waited}
	}
	f := best.fate
	f.Hold = time.Since(best.arrived)
	c.plan.Faults = append(c.plan.Faults, Fault{best.key, f})
	return choice{operation: best, fate: best.fate}
}

// dropped records that an operation did not happen.
func (c *PCT) dropped(o *operation) {
	c.plan.Faults = append(c.plan.Faults, Fault{o.key, Fate{Hold: time.Hour, Lost: true}})
}

// left records that an operation did not happen before the end of the faults.
func (c *PCT) left(o *operation) {
	if !o.stopped {
		c.plan.Faults = append(c.plan.Faults, Fault{o.key, Fate{Hold: time.Hour}})
	}
}

func (c *PCT) priority(name string) int {
	p, ok := c.priorities[name]
	if !ok {
		p = 1 + c.r.IntN(1000)
		c.priorities[name] = p
	}
	return p
}

// fault draws a fault of an operation: first its kind, then one of this kind.
func (c *random) fault(o *operation) Fate {
	c.rest--
	of := map[string][]Fate{}
	for _, f := range menu(o) {
		if c.calm && f.Vendor != "" {
			continue
		}
		of[f.kind()] = append(of[f.kind()], f)
	}
	kinds := slices.Sorted(maps.Keys(of))
	faults := of[kinds[c.r.IntN(len(kinds))]]
	return faults[c.r.IntN(len(faults))]
}

// randomEvent is an event at a random time.
func randomEvent(r *rand.Rand, w World) Event {
	e := Event{At: 2*time.Second + time.Duration(r.Int64N(int64(w.Faults-5*time.Second)))}
	seconds := func(n int) time.Duration { return time.Duration(1+r.IntN(n)) * time.Second }
	kinds := []EventKind{
		Declares, Declares, DeclaresAfter, DeclaresUnread, RetypeDeclares, Replaced,
		Replays, Purges, Restarts, Crashes, StepsDown, StepsDown, Away, Full,
		Redelivers, Kills, Terminates, Stops,
	}
	e.Kind = kinds[r.IntN(len(kinds))]
	switch e.Kind {
	case Declares, RetypeDeclares, Replays, Purges, Redelivers:
		e.ID = w.Interactions[r.IntN(len(w.Interactions))].ID
	case StepsDown:
		e.For = time.Duration(r.Int64N(int64(maxAhead)))
		if r.IntN(2) == 0 {
			e.For = 0
		}
	case Away:
		e.For = seconds(8)
	case Full:
		e.For = seconds(20)
	case Kills, Terminates:
		e.Worker = r.IntN(w.Workers)
	case DeclaresAfter, DeclaresUnread:
		e.ID = w.Interactions[r.IntN(len(w.Interactions))].ID
		e.For = time.Duration(1+r.IntN(4000)) * time.Millisecond
	case Replaced:
		e.For = 5*time.Second + seconds(15)
	case Stops:
		e.Worker, e.For = r.IntN(w.Workers), seconds(15)
	}
	return e
}
