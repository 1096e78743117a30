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

// report compares the vendor's log and the outcome stream with what is expected.
type report struct {
	// stream is the stream of outcomes, outcomes the number of its messages.
	stream                 string
	interactions, outcomes int
	subjects               []subjectCount
	dead                   []landing
	lanes                  []laneReport
	// Faults: outcomes that are missing, stored more than once, or not expected, and polls closer than the interval.
	missing, doubled, unexpected, early []string

	took    time.Duration
	twice   int
	waiting bool // the streams were not empty in time
}

type subjectCount struct {
	subject string
	count   int
}

// laneReport summarizes the polls of one type.
type laneReport struct {
	typ                 schema.Type
	interactions, polls int
	interval            time.Duration
	minGap              time.Duration // between two polls of one interaction
	maxPolls            int           // of one interaction
	twice               bool          // minGap is set
}

// judge compares the outcomes with those expected, and the gaps between polls with the intervals.
func judge(
	n schema.Namespace, cast []part, landed []landing, polls []simulator.Poll, interval consumer.Intervals,
) report {
	r := report{interactions: len(cast), outcomes: len(landed), stream: n.StreamOutcomes()}
	seen, patterns := map[string]int{}, map[string]int{}
	for _, l := range landed {
		seen[l.subject]++
		patterns[pattern(l.subject)]++
		if l.reason != "" {
			r.dead = append(r.dead, l)
		}
	}
	for _, d := range schema.Destinations() {
		p := n.ProcessedSubject(d, "*")
		r.subjects = append(r.subjects, subjectCount{p, patterns[p]})
	}
	for _, reason := range schema.Reasons() {
		p := n.FailedSubject(reason, "*")
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

// measure counts the polls of each lane, and finds its smallest gap.
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
		lane.maxPolls = max(lane.maxPolls, len(at))
		for i := range at[1:] {
			gap := at[i+1].Sub(at[i])
			if !lane.twice || gap < lane.minGap {
				lane.minGap, lane.twice = gap, true
			}
			if gap < lane.interval {
				r.early = append(r.early,
					fmt.Sprintf("%s was polled twice within %s, the interval is %s", id, gap, lane.interval))
			}
		}
	}
}

// pattern replaces the identifier in a subject by *.
func pattern(subject string) string {
	if i := strings.LastIndexByte(subject, '.'); i >= 0 {
		return subject[:i+1] + "*"
	}
	return subject
}

// verdict returns the faults as an error.
func (r report) verdict() error {
	var wrong []string
	for _, w := range []struct {
		what string
		list []string
	}{
		{"missing", r.missing}, {"duplicate", r.doubled}, {"unexpected", r.unexpected}, {"polled too early", r.early},
	} {
		if len(w.list) > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s, the first is %s", len(w.list), w.what, w.list[0]))
		}
	}
	if len(wrong) > 0 {
		return errors.New("the demo found faults: " + strings.Join(wrong, "; "))
	}
	if r.waiting {
		return errors.New("the demo found a fault: every outcome is stored, but the streams are not empty")
	}
	return nil
}
