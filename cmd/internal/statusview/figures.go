package statusview

import (
	"fmt"
	"slices"

	"statusworker/cmd/internal/terminal"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
)

// laneBlock has the lanes and the intake that have figures, and the sum of the lanes.
func laneBlock(s overview.Overview, width int) block {
	reserve := s.Redelivery != consumer.Nak
	row := func(name, due, unacked, waiting, dueFor, oldest, redelivered string) []terminal.Cell {
		if !reserve {
			return []terminal.Cell{left(name), right(due), right(unacked), right(oldest), right(redelivered)}
		}
		return []terminal.Cell{
			left(name), right(due), right(unacked), right(waiting), right(dueFor), right(oldest), right(redelivered),
		}
	}
	first := "due"
	if !reserve {
		first = "new" // messages that wait between polls are unacked
	}
	rows := [][]terminal.Cell{row("lane", first, "unacked", "waiting", "due for", "oldest", "redelivered")}
	var none []string
	var due uint64
	var unacked, redelivered int
	for _, l := range s.Lanes {
		due, unacked, redelivered = due+l.Due, unacked+l.Unacked, redelivered+l.Redelivered
		if idle(l, s.Waiting) {
			none = append(none, string(l.Type))
			continue
		}
		rows = append(rows, row(string(l.Type), fmt.Sprint(l.Due), fmt.Sprint(l.Unacked), count(l.Waiting),
			short(l.DueSeconds), short(l.OldestSeconds), fmt.Sprint(l.Redelivered)))
	}
	sum := 0
	if reserve && len(rows) > 1 {
		sum = len(rows)
		rows = append(rows,
			row("all", fmt.Sprint(due), fmt.Sprint(unacked), count(s.Waiting), "", "", fmt.Sprint(redelivered)))
	}
	if i := s.Intake; i != nil {
		if i.Waiting == 0 && i.Unacked == 0 && i.Redelivered == 0 && i.WaitingSeconds == 0 && i.PausedUntil == nil {
			none = append(none, "intake")
		} else {
			rows = append(rows, []terminal.Cell{
				left("intake"), figure(i.Waiting), figure(i.Unacked), right("-"), right(short(i.WaitingSeconds)),
				right(""), figure(i.Redelivered),
			})
		}
	}
	return newBlock(rows, []int{10, 8, 8, 9, 8, 8, 11}, width, none, func(i int) int {
		if i == sum-1 {
			return 0 // the sum is the most important row
		}
		return 1
	})
}

// idle reports whether a lane has no figures. all is the number of waiting interactions in all lanes, of which an
// unknown part may be in this lane.
func idle(l overview.Lane, all *uint64) bool {
	waiting := l.Waiting
	if waiting == nil {
		waiting = all
	}
	return l.Due == 0 && l.Unacked == 0 && l.Redelivered == 0 && l.DueSeconds == 0 && l.OldestSeconds == 0 &&
		l.PausedUntil == nil && (waiting == nil || *waiting == 0)
}

func count(n *uint64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

// counted is the number of outcomes of one destination or reason.
type counted struct {
	name             string
	lastHour, stored uint64
}

// outcomeBlock has the destinations and reasons that have outcomes: processed events beside dead letters, or above them
// on a narrow terminal.
func outcomeBlock(s overview.Overview, width int) block {
	var processed, failed []counted
	var none []string
	add := func(to *[]counted, c counted) {
		if c.lastHour == 0 && c.stored == 0 {
			none = append(none, c.name)
		} else {
			*to = append(*to, c)
		}
	}
	for _, d := range schema.Destinations() {
		add(&processed, counted{string(d), s.Outcomes.LastHour.Processed[d], s.Outcomes.Stored.Processed[d]})
	}
	for _, r := range schema.Reasons() {
		add(&failed, counted{string(r), s.Outcomes.LastHour.Failed[r], s.Outcomes.Stored.Failed[r]})
	}
	cells := func(all []counted, i int) []terminal.Cell {
		if i >= len(all) {
			return []terminal.Cell{left(""), left(""), left("")}
		}
		return []terminal.Cell{left(all[i].name), figure(all[i].lastHour), figure(all[i].stored)}
	}
	beside := []int{10, 9, 9, 20, 9, 9}
	if fitting(beside, width) == nil {
		all := slices.Concat(processed, failed)
		rows := [][]terminal.Cell{{left("outcome"), right("last hour"), right("stored")}}
		for i := range all {
			rows = append(rows, cells(all, i))
		}
		return newBlock(rows, beside[3:], width, none, func(i int) int { return rankOf(all, i) })
	}
	rows := [][]terminal.Cell{
		{left("processed"), right("last hour"), right("stored"), left("failed"), right("last hour"), right("stored")},
	}
	for i := range max(len(processed), len(failed)) {
		rows = append(rows, append(cells(processed, i), cells(failed, i)...))
	}
	return newBlock(rows, beside, width, none, func(i int) int { return min(rankOf(processed, i), rankOf(failed, i)) })
}

// rankOf returns the rank of an outcome: those of the last hour come first.
func rankOf(all []counted, i int) int {
	if i < len(all) && all[i].lastHour > 0 {
		return 0
	}
	return 1
}
