package statusview

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"statusworker/cmd/internal/terminal"
	"statusworker/cmd/overview"
	"statusworker/schema"
)

// How much of a worker's key, host and version is shown.
const (
	keyShown     = 6
	hostShown    = 16
	versionShown = 12
)

// workerBlock has the workers; those that do not work have room first.
func workerBlock(s overview.Overview, width int) block {
	rows := [][]terminal.Cell{
		{left("worker"), left("host"), left("version"), left("state"), right("polls/s"), right("share")},
	}
	for _, w := range s.Workers {
		key := terminal.Fit(asciiOnly(w.Worker), keyShown)
		if len(w.Worker) > keyShown {
			key = asciiOnly(w.Worker)[:keyShown]
		}
		if w.Problem != "" {
			rows = append(
				rows,
				[]terminal.Cell{
					left(key),
					left("?"),
					left("?"),
					{Text: "unreadable", Paint: terminal.Red},
					right("?"),
					right("?"),
				},
			)
			continue
		}
		share := "-"
		if w.RateLimit > 0 {
			share = strconv.FormatFloat(w.Share, 'f', 2, 64)
		}
		rows = append(rows, []terminal.Cell{
			left(key),
			left(terminal.Fit(asciiOnly(w.Host), hostShown)),
			left(terminal.Fit(asciiOnly(w.Version), versionShown)),
			stateCell(w, s.At),
			right(strconv.FormatFloat(w.PollsPerSecond, 'f', 2, 64)),
			right(share),
		})
	}
	if len(rows) == 1 {
		return block{head: terminal.Faint.On(terminal.Fit("no workers", width))}
	}
	return newBlock(rows, []int{keyShown, hostShown, versionShown, 24, 7, 5}, width, nil, func(i int) int {
		switch s.Workers[i].State {
		case schema.Paused:
			return 0
		case schema.Working:
			return 2
		}
		return 1
	})
}

// stateCell says what a worker does about the vendor, and why.
func stateCell(w overview.Worker, now time.Time) terminal.Cell {
	const most = 24
	cause := asciiOnly(w.Cause)
	switch w.State {
	case schema.Working:
		return terminal.Cell{Text: "working", Paint: terminal.Green}
	case schema.Paused:
		text := "paused"
		if w.Until != nil && w.Until.After(now) {
			text += " " + short(w.Until.Sub(now).Seconds())
		}
		return terminal.Cell{Text: terminal.Fit(text+": "+cause, most), Paint: terminal.Red}
	case schema.Probing:
		return terminal.Cell{Text: terminal.Fit("probing: "+cause, most), Paint: terminal.Yellow}
	}
	return terminal.Cell{Text: terminal.Fit(asciiOnly(string(w.State)), most), Paint: terminal.Yellow}
}

// short is an age in its two largest units.
func short(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second)).Truncate(time.Second)
	day := 24 * time.Hour
	switch {
	case seconds <= 0:
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
}

// asciiOnly replaces what may be wider or narrower than one column, or what a terminal would obey.
func asciiOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
