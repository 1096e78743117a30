// Package statusview draws an overview of all workers and interactions for a terminal.
package statusview

import (
	"fmt"
	"math"
	"strings"
	"time"

	"statusworker/cmd/internal/terminal"
	"statusworker/cmd/overview"
)

// Width is how wide an overview is drawn where there is no terminal.
const Width = 80

// View is the last overview. Where the broker gives none any more, Stale is since when, and Why why.
type View struct {
	overview.Overview
	Stale time.Time
	Why   error
}

// someWorkers is how many workers are shown before lanes and outcomes have room.
const someWorkers = 3

// Draw gives a view as lines of at most width columns. Where most is not 0, there are no more lines than that. Room
// goes to the title, the advice, a worker, some workers, lanes, outcomes, the other workers, in this order.
func Draw(v View, width, most int) []string {
	width = min(width, terminal.MaxWidth)
	top := []string{terminal.Fit(titleLine(v), width)}
	if !v.Stale.IsZero() {
		top = append(
			top,
			terminal.Red.On(
				terminal.Fit(
					fmt.Sprintf("STALE since %s: %v", v.Stale.Format(time.TimeOnly), asciiOnly(v.Why.Error())),
					width,
				),
			),
		)
	}
	var lanes, outcomes, workers block
	if v.Redelivery != "" { // without streams there is nothing to count
		lanes, outcomes, workers = laneBlock(v.Overview, width), outcomeBlock(v.Overview, width), workerBlock(
			v.Overview,
			width,
		)
	}
	advice := adviceBlocks(v.Advice, width)

	left := math.MaxInt
	if most > 0 {
		top = top[:min(len(top), most)]
		left = most - len(top)
	}
	grant := func(to *int, lines int) {
		n := max(0, min(lines-*to, left))
		*to, left = *to+n, left-n
	}
	var forLanes, forOutcomes, forWorkers, forAdvice int
	grant(&forAdvice, min(countLines(advice), max(left-workers.least(), len(advice))))
	grant(&forWorkers, workers.least())
	grant(&forWorkers, workers.size(someWorkers))
	for _, b := range []struct {
		block
		lines *int
	}{{lanes, &forLanes}, {outcomes, &forOutcomes}} {
		if left >= b.least() {
			grant(b.lines, b.size(len(b.rows)))
		}
	}
	parts, shown := []*int{&forLanes, &forOutcomes, &forWorkers, &forAdvice}, 0
	for _, lines := range parts {
		shown += min(*lines, 1)
	}
	// A blank line before each part, unless that would hide workers who would all have room without it.
	others := workers.size(len(workers.rows)) - forWorkers
	spaced := left >= shown+others || left >= shown && left < others
	if spaced {
		left -= shown
	}
	grant(&forWorkers, forWorkers+others)

	lines := top
	for _, part := range [][]string{lanes.lines(forLanes, width), outcomes.lines(forOutcomes, width), workers.lines(forWorkers, width), shortened(advice, forAdvice, width)} {
		if spaced && len(part) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, part...)
	}
	return lines
}

// adviceBlocks are the lines of each piece of advice.
func adviceBlocks(advice []string, width int) (blocks [][]string) {
	for _, a := range advice {
		blocks = append(blocks, terminal.Fill("! "+asciiOnly(a), width, "  "))
	}
	return blocks
}

func countLines(blocks [][]string) (n int) {
	for _, b := range blocks {
		n += len(b)
	}
	return n
}

// shortened draws pieces of advice in so much room: as much of each as of the others, and each at least by a line.
// Where there is no room for that, it says how many are left out.
func shortened(advice [][]string, room, width int) (lines []string) {
	more := ""
	if room > 0 && len(advice) > room {
		more = fmt.Sprintf("! %d more: see `statusworker status`", len(advice)-room+1)
		room--
		advice = advice[:room]
	}
	shown := make([]int, len(advice))
	for granted := true; granted; {
		granted = false
		for i, a := range advice {
			if room > 0 && shown[i] < len(a) {
				shown[i], room, granted = shown[i]+1, room-1, true
			}
		}
	}
	for i, a := range advice {
		for n, line := range a[:shown[i]] {
			if n == shown[i]-1 && shown[i] < len(a) {
				if line = terminal.Fit(line, width-1); !strings.HasSuffix(line, "…") {
					line += "…"
				}
			}
			lines = append(lines, terminal.Yellow.On(line))
		}
	}
	if more != "" {
		lines = append(lines, terminal.Yellow.On(terminal.Fit(more, width)))
	}
	return lines
}

func titleLine(v View) string {
	title := "statusworker status   " + v.At.UTC().Format("2006-01-02 15:04:05") + " UTC"
	if v.Redelivery != "" {
		title += "   redelivery " + string(v.Redelivery)
	}
	if v.CountedAt.Before(v.At) {
		title += "   counted " + v.CountedAt.UTC().Format(time.TimeOnly)
	}
	return title
}
