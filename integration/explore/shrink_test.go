package explore

import (
	"slices"
	"testing"
)

// maxShrinks limits how many histories are run to shrink one.
const maxShrinks = 600

// tries is how often a plan is run: the runtime draws the order of timers that fire at the same instant.
const tries = 2

// replay runs a plan.
func replay(t *testing.T, w World, p Plan, record bool) History {
	t.Helper()
	reseed(p.Seed)
	var declared []Interaction
	for n, i := range w.Interactions {
		if !slices.Contains(p.Without, n+1) {
			declared = append(declared, i)
		}
	}
	w.Interactions = declared
	p.Events = slices.DeleteFunc(slices.Clone(p.Events), func(e Event) bool {
		return e.ID != "" && !slices.ContainsFunc(declared, func(i Interaction) bool { return i.ID == e.ID })
	})
	return run(t, w, newPlanned(p), record)
}

// shrink removes choices from a plan as long as the same invariant is broken (delta debugging: Zeller and Hildebrandt,
// "Simplifying and isolating failure-inducing input", 2002). It reports false if the plan does not break it.
func shrink(t *testing.T, w World, p Plan, invariant string) (Plan, bool) {
	t.Helper()
	runs := 0
	fails := func(p Plan) bool {
		for range tries {
			runs++
			h := replay(t, w, p, false)
			if slices.ContainsFunc(h.Violations, func(v Violation) bool { return v.Invariant == invariant }) {
				return true
			}
		}
		return false
	}
	if !fails(p) {
		return p, false
	}
	// An interaction is a part like any other: its number is in Without when it is removed.
	parts := len(p.Faults) + len(p.Events) + p.Interactions
	kept := make([]bool, parts)
	for n := range kept {
		kept[n] = true
	}
	for size := max(1, parts/2); ; size = max(1, size/2) {
		removed := false
		for from := 0; from < parts && runs < maxShrinks; from += size {
			tried := slices.Clone(kept)
			for n := from; n < min(from+size, parts); n++ {
				tried[n] = false
			}
			if !slices.Equal(tried, kept) && fails(p.only(tried)) {
				kept, removed = tried, true
			}
		}
		if size == 1 && !removed || runs >= maxShrinks {
			return p.only(kept), true
		}
	}
}

// only returns the plan with the parts that are kept.
func (p Plan) only(kept []bool) Plan {
	q := p
	q.Faults, q.Events, q.Without = nil, nil, slices.Clone(p.Without)
	for n, f := range p.Faults {
		if kept[n] {
			q.Faults = append(q.Faults, f)
		}
	}
	kept = kept[len(p.Faults):]
	for n, e := range p.Events {
		if kept[n] {
			q.Events = append(q.Events, e)
		}
	}
	kept = kept[len(p.Events):]
	for n := range p.Interactions {
		if !kept[n] {
			q.Without = append(q.Without, n+1)
		}
	}
	return q
}
