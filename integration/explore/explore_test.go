//go:debug randseednop=0

package explore

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
)

var (
	histories    = flag.Int("histories", 0, "number of random histories; 0 is 100, or 4 with the race detector")
	seed         = flag.Uint64("seed", 1, "seed of the first history; the next one has the next seed")
	interactions = flag.Int("interactions", 20, "interactions of a history")
	faults       = flag.Int("faults", 20, "faults of a history")
	mode         = flag.String("mode", string(consumer.Schedule), "mode of redelivery: schedule or nak")
	planFile     = flag.String("plan", "", "file with a plan to replay, as a failing history prints it")
	keepGoing    = flag.Bool("keep-going", false, "run all histories, also after a violation")
	worldFaults  = flag.Int("world-faults", 1, "faults of a history in the small worlds")
	switches     = flag.Int("switches", defaultSwitches, "switches of workers in the small worlds; negative: no limit")
	full         = flag.Bool("full", false, "all faults in the small worlds, and not one for each kind of effect")
	shrinks      = flag.Bool("shrink", true, "shrink a history that breaks an invariant")
	progress     = flag.Bool("progress", false, "print progress")
	show         = flag.Bool("show", false, "print every history")
)

// TestMain lets one goroutine run at a time: what is chosen then depends on the seed only.
func TestMain(m *testing.M) {
	flag.Parse()
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// randomHistory runs the history of a seed. Every second one chooses by priorities.
func randomHistory(t *testing.T, s uint64, record bool) (World, Plan, History) {
	t.Helper()
	return historyOf(t, s, record, false)
}

func historyOf(t *testing.T, s uint64, record, calm bool) (World, Plan, History) {
	t.Helper()
	w := RandomWorld(s, consumer.Mode(*mode), *interactions)
	p := Plan{Seed: s, Mode: *mode, Interactions: *interactions}
	reseed(s)
	if s%2 == 0 {
		c := newPCT(s, w, *faults, 5, &p)
		c.calm = calm
		h := run(t, w, c, record)
		return w, p, h
	}
	c := newRandom(s, w, *faults, &p)
	c.calm = calm
	h := run(t, w, c, record)
	return w, p, h
}

// TestHistories runs random histories, and shrinks one that breaks an invariant.
func TestHistories(t *testing.T) {
	n := *histories
	if n == 0 {
		n = defaultHistories
	}
	began := time.Now()
	var all total
	for s := *seed; s < *seed+uint64(n); s++ {
		if *progress {
			fmt.Printf("history %d\n", s)
		}
		w, p, h := randomHistory(t, s, *show)
		all.add(h)
		if *show {
			t.Logf("seed %d:\n%s", s, lines(h.Lines))
		}
		if len(h.Violations) > 0 {
			explain(t, w, p, h)
			if !*keepGoing {
				break
			}
		}
	}
	t.Logf("%s took=%s", all, time.Since(began).Round(time.Second))
}

func lines(of []string) string { return strings.Join(of, "\n") }

// total is the sum of histories.
type total struct {
	histories, steps, polls, faults, violations, early, hindered int
	kinds                                                        map[string]int
	least                                                        float64
	slowest                                                      time.Duration
}

func (a *total) add(h History) {
	if a.kinds == nil {
		a.kinds, a.least = map[string]int{}, h.LeastGap
	}
	a.histories++
	a.steps += h.Steps
	a.polls += h.Polls
	a.violations += len(h.Violations)
	a.early += h.Early
	a.hindered += h.Hindered
	if h.LeastGap > 0 {
		a.least = min(a.least, h.LeastGap)
	}
	a.slowest = max(a.slowest, h.Slowest)
	for kind, n := range h.Faults {
		a.kinds[kind] += n
		a.faults += n
	}
}

func (a total) String() string {
	var kinds []string
	for kind, n := range a.kinds {
		kinds = append(kinds, fmt.Sprintf("%s=%d", strings.ReplaceAll(kind, " ", "_"), n))
	}
	slices.SortFunc(kinds, cmp.Compare[string])
	return fmt.Sprintf("histories=%d violations=%d operations=%d polls=%d faults=%d min_gap=%.3f early=%d "+
		"hindered=%d slowest_after_faults=%s\n%s", a.histories, a.violations, a.steps, a.polls, a.faults, a.least,
		a.early, a.hindered, a.slowest.Round(time.Millisecond), strings.Join(kinds, " "))
}

// explain shrinks a history that broke an invariant, and fails the test with it.
func explain(t *testing.T, w World, p Plan, h History) {
	t.Helper()
	t.Errorf("seed %d: broken=%s %v", p.Seed, invariants(h.Violations), h.Violations)
	if !*shrinks {
		return
	}
	small, ok := shrink(t, w, p, h.Violations[0].Invariant)
	if !ok {
		t.Logf("the plan of seed %d does not break %s; -seed %[1]d -histories 1 -show does", p.Seed,
			h.Violations[0].Invariant)
		return
	}
	text, err := json.Marshal(small)
	if err != nil {
		t.Fatal(err)
	}
	again := replay(t, w, small, true)
	t.Logf("%v\nplan, for -plan:\n%s\nhistory:\n%s", again.Violations, text, lines(again.readable()))
}

// invariants names the broken invariants.
func invariants(all []Violation) string {
	var names []string
	for _, v := range all {
		names = append(names, v.Invariant)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// TestPlan replays a plan.
func TestPlan(t *testing.T) {
	if *planFile == "" {
		t.Skip("-plan is not set")
	}
	text, err := os.ReadFile(*planFile)
	if err != nil {
		t.Fatal(err)
	}
	var p Plan
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	h := replay(t, RandomWorld(p.Seed, consumer.Mode(p.Mode), p.Interactions), p, true)
	t.Logf("%v\n%s", h.Violations, lines(h.readable()))
	if len(h.Violations) > 0 {
		t.Error(h.Violations)
	}
}

// A history depends on its seed only, and its plan makes the same history. The runtime draws the order of timers that
// fire at the same instant in a bubble, so a few histories take several runs to repeat.
func TestReplay(t *testing.T) {
	if !ordered {
		t.Skip("the race detector makes the order of goroutines random")
	}
	for s := *seed; s < *seed+6; s++ {
		w, p, first := historyOf(t, s, true, true)
		repeats(t, "seed", s, first, func() History {
			_, _, again := historyOf(t, s, true, true)
			return again
		})
		repeats(t, "plan", s, first, func() History { return replay(t, w, p, true) })
	}
}

// repeats runs a history again until it is the same.
func repeats(t *testing.T, by string, s uint64, want History, again func() History) {
	t.Helper()
	const most = 20
	var got History
	for range most {
		if got = again(); got.Hash == want.Hash {
			return
		}
	}
	n := 0
	for n < min(len(want.Lines), len(got.Lines)) && want.Lines[n] == got.Lines[n] {
		n++
	}
	t.Errorf("the %s of history %d does not make it again in %d runs; the last one differs from line %d:\n%s\n\n%s", by,
		s, most, n, lines(want.Lines[max(0, n-8):min(len(want.Lines), n+4)]),
		lines(got.Lines[max(0, n-1):min(len(got.Lines), n+4)]))
}
