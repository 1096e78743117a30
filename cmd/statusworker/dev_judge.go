//go:build !nodev

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"statusworker/cmd/internal/terminal"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// devReport is what came of a cast, by the vendor's log and the outcome stream.
type devReport struct {
	interactions, outcomes int
	subjects               []subjectCount
	dead                   []landing
	lanes                  []laneReport
	// What must not be: outcomes that are missing, that landed more than once, that nobody expected, and polls closer
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

// judgeDev compares what landed with what must, and the gaps between polls with the guidance.
func judgeDev(cast []part, landed []landing, polls []simulator.Poll, interval consumer.Intervals) devReport {
	r := devReport{interactions: len(cast), outcomes: len(landed)}
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
func (r *devReport) measure(polls []simulator.Poll, types map[string]schema.Type, lanes map[schema.Type]*laneReport) {
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
				r.early = append(r.early, fmt.Sprintf("%s was asked for twice within %s, the guidance is %s", id, gap, lane.interval))
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
func (r devReport) verdict() error {
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

// maxDead is how many dead letters of one reason are shown.
const maxDead = 3

// write shows the report in lines of at most width columns; 0 is no bound.
func (r devReport) write(w io.Writer, width int) {
	say(w, "\nWhat landed where")
	var rows [][]terminal.Cell
	for _, s := range r.subjects {
		rows = append(rows, []terminal.Cell{{Text: "  " + s.subject}, {Text: fmt.Sprint(s.count), Right: true}})
	}
	sayAll(w, terminal.Grid(rows, nil, width))

	say(w, "\nDead letters")
	shown := 0
	for i, l := range r.dead {
		last := i+1 == len(r.dead) || r.dead[i+1].reason != l.reason
		if shown++; shown <= maxDead {
			say(w, "  %s  %s", l.identifier, l.reason)
			detail := "      " + l.detail
			if width > 0 {
				detail = terminal.Fit(detail, width)
			}
			say(w, "%s", detail)
		}
		if last {
			if shown > maxDead {
				say(w, "  and %d more: %s", shown-maxDead, l.reason)
			}
			shown = 0
		}
	}

	say(w, "\nHow the vendor was asked")
	rows = [][]terminal.Cell{{{Text: "  lane"}}}
	for _, title := range []string{"interactions", "polls", "most for one", "least gap", "guidance"} {
		rows[0] = append(rows[0], terminal.Cell{Text: title, Right: true})
	}
	polls := 0
	for _, l := range r.lanes {
		least := "-"
		if l.twice {
			least = l.least.Round(time.Millisecond).String()
		}
		row := []terminal.Cell{{Text: "  " + string(l.typ)}}
		for _, v := range []any{l.interactions, l.polls, l.most, least, l.interval} {
			row = append(row, terminal.Cell{Text: fmt.Sprint(v), Right: true})
		}
		rows = append(rows, row)
		polls += l.polls
	}
	sayAll(w, terminal.Grid(rows, nil, width))

	say(w, "\n%d interactions, %d of them declared twice; %d outcomes after %d polls in %.1f s", r.interactions, r.twice, r.outcomes, polls, r.took.Seconds())
	end := ""
	if r.verdict() == nil {
		end = ": as it must be"
	}
	say(w, "missing %d, doubled %d, not expected %d, polled too early %d%s", len(r.missing), len(r.doubled), len(r.unexpected), len(r.early), end)
}

func sayAll(w io.Writer, lines []string) {
	for _, line := range lines {
		say(w, "%s", line)
	}
}
