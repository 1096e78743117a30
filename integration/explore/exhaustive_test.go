package explore

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/schema"
)

// exhaustive chooses in turn everything that can happen in a small world: which operation is next if several may
// happen, and up to a number of faults. It is a stateless depth-first search: each history begins at the start, and
// repeats the choices of the path.
//
// Without a limit of switches, sleep sets (Godefroid, "Partial-order methods for the verification of concurrent
// systems", 1996) let only one of several histories run that differ in the order of independent steps. Two steps are
// independent if they are of different workers (or one is an acknowledgement, for which its worker does not wait), and
// neither writes what the other one reads or writes. Each step also moves the clock by 20 microseconds, which this
// ignores.
//
// With a limit of switches, a worker goes on until it waits for something, except at so many places (Musuvathi and
// Qadeer, "Iterative context bounding for systematic testing of multithreaded programs", 2007). Its operations then
// happen in the order in which they arrive.
//
// The operations of the fleet, of the clock and of the start of workers, and pulls without a message, happen in the
// order in which they arrive. Workers are alike until the first of them has got a message, so only one of them gets it.
type exhaustive struct {
	orderly
	menu   func(*operation) []Fate
	faults int     // at most in a history
	events []Event // that may happen before any operation
	// switches is how often an operation of another worker may happen although the last worker has one; negative is no
	// limit.
	switches int

	path     []*node
	depth    int
	used     int    // faults in this history
	switched int    // switches in this history
	last     string // the worker of the last operation
	pruned   int
}

// node is a choice of the path.
type node struct {
	options []option
	at      int      // the option that is being explored
	done    []option // those explored before
	sleep   []option // those whose histories are equivalent to explored ones
}

// option is a step that may be chosen.
type option struct {
	name  string
	key   string // of the operation
	fate  Fate
	event *Event

	actor           string
	reads, writes   resources
	settles         bool // the worker does not wait for it
	fault, preempts bool
}

// independent reports whether two steps lead to the same state in either order.
func independent(a, b option) bool {
	if a.event != nil || b.event != nil || a.actor == b.actor && !a.settles && !b.settles {
		return false
	}
	return a.writes&(b.reads|b.writes) == 0 && b.writes&(a.reads|a.writes) == 0
}

// picks implements chooser.
func (c *exhaustive) picks(ready []*operation) choice {
	for _, o := range ready {
		if o.pull != nil && o.pull.empty {
			return choice{operation: o}
		}
	}
	if c.depth == len(c.path) {
		n := c.newNode(ready)
		if n == nil {
			c.pruned++
			return choice{abandon: true}
		}
		c.path = append(c.path, n)
	}
	n := c.path[c.depth]
	c.depth++
	o := n.options[n.at]
	if o.fault {
		c.used++
	}
	if o.preempts {
		c.switched++
	}
	if o.event == nil {
		c.last = o.actor
	}
	if o.event != nil {
		return choice{event: o.event}
	}
	for _, r := range ready {
		if r.key == o.key {
			return choice{operation: r, fate: o.fate}
		}
	}
	panic(fmt.Sprintf("the history does not repeat: %q cannot happen at choice %d", o.key, c.depth))
}

// newNode returns the choice after the path, or nil if every option is asleep.
func (c *exhaustive) newNode(ready []*operation) *node {
	n := &node{}
	if len(c.path) == 0 {
		ready = ready[:1] // workers are alike
	}
	if c.switches >= 0 {
		ready = c.bounded(ready)
	} else if len(c.path) > 0 {
		before := c.path[len(c.path)-1]
		chosen := before.options[before.at]
		for _, o := range slices.Concat(before.sleep, before.done) {
			if independent(o, chosen) {
				n.sleep = append(n.sleep, o)
			}
		}
	}
	for _, o := range c.options(ready) {
		if !slices.ContainsFunc(n.sleep, func(s option) bool { return s.name == o.name }) {
			n.options = append(n.options, o)
		}
	}
	if len(n.options) == 0 {
		return nil
	}
	return n
}

// bounded returns the first operation of each worker, or only that of the last worker if there may be no more
// switches.
func (c *exhaustive) bounded(ready []*operation) (first []*operation) {
	for _, o := range ready {
		of := func(r *operation) bool { return r.actor == o.actor }
		if !slices.ContainsFunc(first, of) && (c.switched < c.switches || !c.preempts(o, ready)) {
			first = append(first, o)
		}
	}
	return first
}

// preempts reports whether an operation is of another worker than the last one, which has an operation as well.
func (c *exhaustive) preempts(o *operation, ready []*operation) bool {
	goesOn := func(r *operation) bool { return r.actor.name == c.last }
	return !goesOn(o) && slices.ContainsFunc(ready, goesOn)
}

func (c *exhaustive) options(ready []*operation) (all []option) {
	for _, o := range ready {
		step := option{
			name: o.key, key: o.key, fate: o.fate, actor: o.actor.name, reads: o.reads, writes: o.writes,
			settles: o.done == nil, preempts: c.preempts(o, ready),
		}
		all = append(all, step)
		if c.used >= c.faults || !o.fate.ok() || o.fate.Hold > 0 {
			continue
		}
		for _, f := range c.menu(o) {
			faulty := step
			faulty.name, faulty.fate, faulty.fault = o.key+": "+fmt.Sprintf("%+v", f), f, true
			faulty.settles = step.settles && f.Dies == "" && f.Stops == 0
			all = append(all, faulty)
		}
	}
	if c.used < c.faults {
		for n := range c.events {
			e := &c.events[n]
			all = append(all, option{name: e.String(), event: e, fault: true})
		}
	}
	return all
}

// rewind begins the path again.
func (c *exhaustive) rewind() { c.depth, c.used, c.switched, c.last = 0, 0, 0, "" }

// advance moves to the next path. It reports false at the end.
func (c *exhaustive) advance() bool {
	c.rewind()
	for len(c.path) > 0 {
		n := c.path[len(c.path)-1]
		n.done = append(n.done, n.options[n.at])
		if n.at++; n.at < len(n.options) {
			return true
		}
		c.path = c.path[:len(c.path)-1]
	}
	return false
}

// smallWorld has one chat, which is polled twice: the second time it has ended.
func smallWorld(ends schema.Status) World {
	return World{
		Mode: consumer.Mode(*mode), Workers: 2, Jitter: []float64{0}, Ahead: []time.Duration{0}, Config: config(),
		Broker: fake.Options{FiredSeen: 30 * time.Millisecond, AckedSeen: 30 * time.Millisecond},
		Interactions: []Interaction{{
			ID: identifier(1), Type: schema.Chat, Ends: ends, After: 9 * time.Second, Declared: 100 * time.Millisecond,
		}},
		Faults: 2 * time.Minute, Rest: 4 * time.Minute, Early: true,
	}
}

// smallEvents are the events of a small world.
func smallEvents(ends schema.Status, full bool) []Event {
	id := identifier(1)
	events := []Event{
		{Kind: Crashes}, {Kind: StepsDown, For: maxAhead}, {Kind: Full, For: 7 * time.Second}, {Kind: Declares, ID: id},
	}
	if ends != schema.StatusProcessed {
		events = append(events, Event{Kind: Replays, ID: id}, Event{Kind: Purges, ID: id})
	}
	if full {
		events = append(events, Event{Kind: Restarts}, Event{Kind: StepsDown}, Event{Kind: Away, For: 3 * time.Second},
			Event{Kind: Redelivers, ID: id}, Event{Kind: RetypeDeclares, ID: id}, Event{Kind: Terminates})
	}
	return events
}

// TestExhaustive runs every history of a small world with up to -world-faults faults.
func TestExhaustive(t *testing.T) {
	if !ordered {
		t.Skip("thousands of histories: too slow with the race detector")
	}
	for _, ends := range []schema.Status{schema.StatusProcessed, schema.StatusProcessingFailed} {
		t.Run(string(ends), func(t *testing.T) {
			w := smallWorld(ends)
			c := &exhaustive{faults: *worldFaults, switches: *switches, menu: brief, events: smallEvents(ends, *full)}
			if *full {
				c.menu = menu
			}
			began := time.Now()
			var all total
			for {
				reseed(1)
				h := run(t, w, c, false)
				if !h.Abandoned {
					all.add(h)
				}
				if len(h.Violations) > 0 {
					c.rewind()
					reseed(1)
					again := run(t, w, c, true)
					t.Errorf("%v\n%s", again.Violations, lines(again.readable()))
					if !*keepGoing {
						break
					}
				}
				if *progress && all.histories%5000 == 0 {
					fmt.Printf("histories=%d redundant=%d took=%s path=%s\n", all.histories, c.pruned,
						time.Since(began).Round(time.Second), c.where())
				}
				if !c.advance() {
					break
				}
			}
			t.Logf("faults<=%d switches<=%d redundant=%d %s took=%s", c.faults, c.switches, c.pruned, all,
				time.Since(began).Round(time.Second))
		})
	}
}

// where describes the path by the number of each choice and of its options.
func (c *exhaustive) where() string {
	text := ""
	for _, n := range c.path {
		text += fmt.Sprintf(" %d/%d", n.at, len(n.options))
	}
	return text
}
