package demo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// report is what came of a cast, by the vendor's log and the outcome stream.
type report struct {
	interactions, outcomes int
	subjects               []subjectCount
	dead                   []landing
	lanes                  []laneReport
	// What must not be: outcomes that are missing, that landed more than once, that are not expected, and polls closer
	// than the guidance.
	missing, doubled, unexpected, early []string

	took    time.Duration
	twice   int
	waiting bool // time ran out
}

type subjectCount struct {
	subject string
	count   int
}

// laneReport is how the vendor was asked about one type.
type laneReport struct {
	typ                 schema.Type
	interactions, polls int
	interval            time.Duration
	least               time.Duration // between two polls of one interaction
	most                int           // polls of one interaction
	twice               bool          // some interaction was polled twice
}

// judge compares what landed with what must, and the gaps between polls with the guidance.
func judge(cast []part, landed []landing, polls []simulator.Poll, interval consumer.Intervals) report {
	r := report{interactions: len(cast), outcomes: len(landed)}
	seen, patterns := map[string]int{}, map[string]int{}
	for _, l := range landed {
		seen[l.subject]++
		patterns[pattern(l.subject)]++
		if l.reason != "" {
			r.dead = append(r.dead, l)
		}
	}
	for _, d := range schema.Destinations() {
		p := schema.ProcessedSubject(d, "*")
		r.subjects = append(r.subjects, subjectCount{p, patterns[p]})
	}
	for _, reason := range schema.Reasons() {
		p := schema.FailedSubject(reason, "*")
		r.subjects = append(r.subjects, subjectCount{p, patterns[p]})
	}
	types := map[string]schema.Type{}
	lanes := map[schema.Type]*laneReport{}
	for _, t := range schema.Types() {
		r.lanes = append(r.lanes, laneReport{typ: t, interval: interval.Of(t)})
	}
	for i := range r.lanes {
		lanes[r.lanes[i].typ] = &r.lanes[i]
	}
	expected := map[string]bool{}
	for _, one := range cast {
		types[one.identifier] = one.typ
		lanes[one.typ].interactions++
		for _, subject := range one.want {
			expected[subject] = true
			switch n := seen[subject]; {
			case n == 0:
				r.missing = append(r.missing, subject)
			case n > 1:
				r.doubled = append(r.doubled, fmt.Sprintf("%s (%d times)", subject, n))
			}
		}
	}
	for subject := range seen {
		if !expected[subject] {
			r.unexpected = append(r.unexpected, subject)
		}
	}
	slices.Sort(r.unexpected)
	slices.SortStableFunc(r.dead, func(a, b landing) int {
		return slices.Index(schema.Reasons(), a.reason) - slices.Index(schema.Reasons(), b.reason)
	})
	r.measure(polls, types, lanes)
	return r
}

// measure finds the least gap of each lane.
func (r *report) measure(polls []simulator.Poll, types map[string]schema.Type, lanes map[schema.Type]*laneReport) {
	times := map[string][]time.Time{}
	for _, p := range polls {
		times[p.Identifier] = append(times[p.Identifier], p.At)
	}
	for id, at := range times {
		lane := lanes[types[id]]
		if lane == nil {
			r.unexpected = append(r.unexpected, "a poll of "+id)
			continue
		}
		slices.SortFunc(at, time.Time.Compare)
		lane.polls += len(at)
		lane.most = max(lane.most, len(at))
		for i := range at[1:] {
			gap := at[i+1].Sub(at[i])
			if !lane.twice || gap < lane.least {
				lane.least, lane.twice = gap, true
			}
			if gap < lane.interval {
				r.early = append(r.early, fmt.Sprintf(
					"%s was asked for twice within %s, the guidance is %s", id, gap, lane.interval))
			}
		}
	}
}

// pattern puts a * in the place of a subject's identifier.
func pattern(subject string) string {
	if i := strings.LastIndexByte(subject, '.'); i >= 0 {
		return subject[:i+1] + "*"
	}
	return subject
}

// verdict is nil where everything is as it must be.
func (r report) verdict() error {
	var wrong []string
	for _, w := range []struct {
		what string
		list []string
	}{
		{"missing", r.missing}, {"stored more than once", r.doubled}, {"not expected", r.unexpected}, {"impolite", r.early},
	} {
		if len(w.list) > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s, the first: %s", len(w.list), w.what, w.list[0]))
		}
	}
	if len(wrong) > 0 {
		return errors.New("it did not go as it must: " + strings.Join(wrong, "; "))
	}
	if r.waiting {
		return errors.New("it did not go as it must: every outcome is there, but the streams do not run empty")
	}
	return nil
}
