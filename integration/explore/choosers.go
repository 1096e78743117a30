package explore

import (
	"cmp"
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
	// share is the share of operations that get a fault, budget the number of faults that are left.
	share  float64
	budget int
	plan   *Plan
}

// expected is about how many operations of an interaction can get a fault.
const expected = 30

func newRandom(seed uint64, w World, faults int, plan *Plan) *random {
	r := rand.New(rand.NewPCG(seed, 2))
	c := &random{r: r, plan: plan}
	for range faults / 3 {
		plan.Events = append(plan.Events, randomEvent(r, w))
	}
	c.budget = faults - len(plan.Events)
	c.share = 1.5 * float64(c.budget) / float64(expected*len(w.Interactions))
	c.planned = *newPlanned(*plan)
	return c
}

func (c *random) arrives(o *operation) (f Fate) {
	share := c.share
	if o.background {
		share /= 10
	}
	switch p := c.r.Float64(); {
	case p < share && c.budget > 0:
		of := menu(o)
		f = of[c.r.IntN(len(of))]
		c.budget--
	case p > 0.9 && !o.background && o.kind != poll && o.kind != answer:
		f.Hold = time.Duration(1+c.r.IntN(3000)) * time.Microsecond
	default:
		return f
	}
	c.plan.Faults = append(c.plan.Faults, Fault{o.key, f})
	return f
}

// randomEvent is an event at a random time.
func randomEvent(r *rand.Rand, w World) Event {
	e := Event{At: 2*time.Second + time.Duration(r.Int64N(int64(w.Faults-5*time.Second)))}
	seconds := func(n int) time.Duration { return time.Duration(1+r.IntN(n)) * time.Second }
	kinds := []EventKind{
		Declares, Declares, RetypeDeclares, Replays, Purges, Restarts, Crashes, StepsDown, StepsDown, Away, Full,
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
	case Stops:
		e.Worker, e.For = r.IntN(w.Workers), seconds(15)
	}
	return e
}
