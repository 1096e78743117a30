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

// Maximum widths of a worker's key, host and version.
const (
	keyShown     = 6
	hostShown    = 16
	versionShown = 12
)

// workerBlock has the workers. Paused and probing ones have the highest priority.
func workerBlock(s overview.Overview, width int) block {
	rows := [][]terminal.Cell{
		{left("worker"), left("host"), left("version"), left("state"), right("polls/s"), right("share")},
	}
	for _, w := range s.Workers {
		key := asciiOnly(w.Worker)
		key = key[:min(len(key), keyShown)]
		if w.Problem != "" {
			rows = append(rows, []terminal.Cell{
				left(key), left("?"), left("?"), {Text: "unreadable", Paint: terminal.Red}, right("?"), right("?"),
			})
			continue
		}
		share := "-"
		if w.RateLimit > 0 {
			share = strconv.FormatFloat(w.Share, 'f', 2, 64)
		}
		host, version := terminal.Fit(asciiOnly(w.Host), hostShown), terminal.Fit(asciiOnly(w.Version), versionShown)
		rows = append(rows, []terminal.Cell{
			left(key), left(host), left(version), stateCell(w, s.At),
			right(strconv.FormatFloat(w.PollsPerSecond, 'f', 2, 64)), right(share),
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

// stateCell returns the state of a worker, its cause, and until when it is paused.
func stateCell(w overview.Worker, now time.Time) terminal.Cell {
	const maxWidth = 24
	cause := asciiOnly(w.Cause)
	switch w.State {
	case schema.Working:
		return terminal.Cell{Text: "working", Paint: terminal.Green}
	case schema.Paused:
		text := "paused"
		if w.Until != nil && w.Until.After(now) {
			text += " " + short(w.Until.Sub(now).Seconds())
		}
		return terminal.Cell{Text: terminal.Fit(text+": "+cause, maxWidth), Paint: terminal.Red}
	case schema.Probing:
		return terminal.Cell{Text: terminal.Fit("probing: "+cause, maxWidth), Paint: terminal.Yellow}
	}
	return terminal.Cell{Text: terminal.Fit(asciiOnly(string(w.State)), maxWidth), Paint: terminal.Yellow}
}

// short formats an age in its two largest units.
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

// asciiOnly replaces characters that may not be one column wide, or control the terminal.
func asciiOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
