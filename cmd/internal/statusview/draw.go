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

// Width is the width of an overview without a terminal.
const Width = 80

// View is the latest overview. If the broker has stopped answering, Stale is the time since then, and Why the error.
type View struct {
	overview.Overview
	Stale time.Time
	Why   error
}

// someWorkers is how many workers have priority over lanes and outcomes.
const someWorkers = 3

// Draw returns a view as lines of at most width columns. Unless maxLines is 0, there are at most so many lines. The
// title has the highest priority, then the advice, one worker, some workers, lanes, outcomes, their consumers, and the
// other workers.
func Draw(v View, width, maxLines int) []string {
	width = min(width, terminal.MaxWidth)
	lines := []string{terminal.Fit(titleLine(v), width)}
	if !v.Stale.IsZero() {
		stale := fmt.Sprintf("STALE since %s: %v", v.Stale.Format(time.TimeOnly), asciiOnly(v.Why.Error()))
		lines = append(lines, terminal.Red.On(terminal.Fit(stale, width)))
	}
	left := math.MaxInt
	if maxLines > 0 {
		lines = lines[:min(len(lines), maxLines)]
		left = maxLines - len(lines)
	}
	parts, spaced := divide(v, left, width)
	for _, part := range parts {
		if spaced && len(part) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, part...)
	}
	return lines
}

// divide draws advice, lanes, outcomes, their consumers and workers in at most left lines. spaced means that there is
// room for a blank line before each.
func divide(v View, left, width int) (parts [][]string, spaced bool) {
	var lanes, outcomes, workers, consumers block
	if v.Redelivery != "" { // without streams there are no figures
		lanes, outcomes = laneBlock(v.Overview, width), outcomeBlock(v.Overview, width)
		workers, consumers = workerBlock(v.Overview, width), consumerBlock(v.Overview, width)
	}
	advice := adviceBlocks(v.Advice, width)
	grant := func(to *int, lines int) {
		n := max(0, min(lines-*to, left))
		*to, left = *to+n, left-n
	}
	var forLanes, forOutcomes, forWorkers, forConsumers, forAdvice int
	grant(&forAdvice, min(countLines(advice), max(left-workers.minSize(), len(advice))))
	grant(&forWorkers, workers.minSize())
	grant(&forWorkers, workers.size(someWorkers))
	for _, b := range []struct {
		block
		lines *int
	}{{lanes, &forLanes}, {outcomes, &forOutcomes}, {consumers, &forConsumers}} {
		if left >= b.minSize() {
			grant(b.lines, b.size(len(b.rows)))
		}
	}
	shown := 0
	for _, lines := range []int{forLanes, forOutcomes, forConsumers, forWorkers, forAdvice} {
		shown += min(lines, 1)
	}
	// No blank lines if they hide workers that would all be visible without them.
	others := workers.size(len(workers.rows)) - forWorkers
	if spaced = left >= shown+others || left >= shown && left < others; spaced {
		left -= shown
	}
	grant(&forWorkers, forWorkers+others)
	return [][]string{
		shortened(advice, forAdvice, width),
		lanes.lines(forLanes, width), outcomes.lines(forOutcomes, width), consumers.lines(forConsumers, width),
		workers.lines(forWorkers, width),
	}, spaced
}

// adviceBlocks wraps each piece of advice.
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

// shortened draws pieces of advice in at most room lines. It cuts all of them to the same length, of at least a line.
// If there are more pieces than lines, it shows how many it has left out.
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
	title := "statusworker status"
	if !v.Namespace.IsDefault() {
		title += " of " + v.Namespace.String()
	}
	title += "   " + v.At.UTC().Format("2006-01-02 15:04:05") + " UTC"
	if v.Redelivery != "" {
		title += "   redelivery " + string(v.Redelivery)
	}
	if v.CountedAt.Before(v.At) {
		title += "   counted " + v.CountedAt.UTC().Format(time.TimeOnly)
	}
	return title
}
