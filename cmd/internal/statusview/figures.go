package statusview

import (
	"statusworker/cmd/internal/terminal"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
)

// laneBlock has the lanes and the intake that have figures, and the sum of the lanes.
func laneBlock(s overview.Overview, width int) block {
	reserve := s.Redelivery != consumer.Nak
	rows := [][]terminal.Cell{{left("lane"), right("new"), right("out, held"), right("oldest"), right("redelivered")}}
	if reserve {
		rows = [][]terminal.Cell{
			{
				left("lane"),
				right("due"),
				right("out"),
				right("held back"),
				right("due for"),
				right("oldest"),
				right("redelivered"),
			},
		}
	}
	var none []string
	var due uint64
	var out, redelivered int
	for _, l := range s.Lanes {
		due, out, redelivered = due+l.Due, out+l.Out, redelivered+l.Redelivered
		switch {
		case idle(l, s.Waiting):
			none = append(none, string(l.Type))
		case reserve:
			rows = append(
				rows,
				[]terminal.Cell{
					left(string(l.Type)),
					figure(l.Due),
					figure(l.Out),
					held(l.Waiting),
					right(short(l.DueSeconds)),
					right(short(l.OldestSeconds)),
					figure(l.Redelivered),
				},
			)
		default:
			rows = append(
				rows,
				[]terminal.Cell{
					left(string(l.Type)),
					figure(l.Due),
					figure(l.Out),
					right(short(l.OldestSeconds)),
					figure(l.Redelivered),
				},
			)
		}
	}
	sum := 0
	if reserve && len(rows) > 1 {
		sum = len(rows)
		rows = append(
			rows,
			[]terminal.Cell{
				left("all"),
				figure(due),
				figure(out),
				held(s.Waiting),
				right(""),
				right(""),
				figure(redelivered),
			},
		)
	}
	if i := s.Intake; i != nil {
		if i.Waiting == 0 && i.Out == 0 && i.Redelivered == 0 && i.WaitingSeconds == 0 && i.PausedUntil == nil {
			none = append(none, "intake")
		} else {
			rows = append(
				rows,
				[]terminal.Cell{
					left("intake"),
					figure(i.Waiting),
					figure(i.Out),
					held(nil),
					right(short(i.WaitingSeconds)),
					right(""),
					figure(i.Redelivered),
				},
			)
		}
	}
	return newBlock(rows, []int{10, 8, 8, 9, 8, 8, 11}, width, none, func(i int) int {
		if i == sum-1 {
			return 0 // the sum says most
		}
		return 1
	})
}

// idle reports whether there is nothing to show of a lane. All is what is held back in all lanes, of which a lane may
// have a part that was not counted.
func idle(l overview.Lane, all *uint64) bool {
	held := l.Waiting
	if held == nil {
		held = all
	}
	return l.Due == 0 && l.Out == 0 && l.Redelivered == 0 && l.DueSeconds == 0 && l.OldestSeconds == 0 &&
		l.PausedUntil == nil &&
		(held == nil || *held == 0)
}

func held(n *uint64) terminal.Cell {
	if n == nil {
		return right("-")
	}
	return figure(*n)
}

// counted is how many outcomes of one kind there are.
type counted struct {
	name             string
	lastHour, stored uint64
}

// outcomeBlock has the kinds of outcomes of which there are some: the processed events beside the dead letters, or
// above them where that takes too many columns.
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
		all := append(processed, failed...)
		rows := [][]terminal.Cell{{left("outcome"), right("last hour"), right("stored")}}
		for i := range all {
			rows = append(rows, cells(all, i))
		}
		return newBlock(rows, beside[3:], width, none, func(i int) int { return late(all, i) })
	}
	rows := [][]terminal.Cell{
		{left("processed"), right("last hour"), right("stored"), left("failed"), right("last hour"), right("stored")},
	}
	for i := range max(len(processed), len(failed)) {
		rows = append(rows, append(cells(processed, i), cells(failed, i)...))
	}
	return newBlock(rows, beside, width, none, func(i int) int { return min(late(processed, i), late(failed, i)) })
}

// late is the rank of an outcome: those of the last hour come first.
func late(all []counted, i int) int {
	if i < len(all) && all[i].lastHour > 0 {
		return 0
	}
	return 1
}
