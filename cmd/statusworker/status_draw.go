package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"statusworker/consumer"
	"statusworker/consumer/survey"
	"statusworker/schema"
)

// statusWidth is how wide a survey is drawn where there is no terminal.
const statusWidth = 80

// drawStatus gives a view as lines of at most width columns. Where most is not 0, there are no more lines than that: the
// workers make room first.
func drawStatus(v statusView, width, most int) []string {
	width = min(width, widest)
	head := []string{fit(titleLine(v), width)}
	if !v.stale.IsZero() {
		head = append(head, red.on(fit(fmt.Sprintf("STALE since %s: %v", v.stale.Format(time.TimeOnly), asciiOnly(v.why.Error())), width)))
	} else {
		head = append(head, "")
	}
	head = append(head, headed(laneRows(v.Survey), []int{10, 8, 8, 9, 8, 8, 11}, width)...)
	head = append(head, "")
	head = append(head, headed(outcomeRows(v.Survey), []int{10, 9, 9, 20, 9, 9}, width)...)
	head = append(head, "")
	workers := workerLines(v.Survey, width)
	var tail []string
	for i, a := range v.Advice {
		if i == 0 {
			tail = append(tail, "")
		}
		for _, line := range wrap("! "+asciiOnly(a), width, "  ") {
			tail = append(tail, yellow.on(line))
		}
	}
	if room := most - len(head) - len(tail); most > 0 && len(workers) > room {
		keep := min(max(room-1, 1), len(workers))
		hidden := len(workers) - keep
		workers = append(workers[:keep:keep], faint.on(fit(fmt.Sprintf("and %d more", hidden), width)))
	}
	lines := append(append(head, workers...), tail...)
	if most > 0 {
		lines = lines[:min(len(lines), most)]
	}
	return lines
}

func titleLine(v statusView) string {
	title := "statusworker status   " + v.At.UTC().Format("2006-01-02 15:04:05") + " UTC"
	if v.HoldBack != "" {
		title += "   hold back by " + string(v.HoldBack)
	}
	if v.CountedAt.Before(v.At) {
		title += "   counted " + v.CountedAt.UTC().Format(time.TimeOnly)
	}
	return title
}

// headed is a grid whose first row is a head.
func headed(rows [][]cell, least []int, width int) []string {
	for i := range rows[0] {
		rows[0][i].paint = faint
	}
	return grid(rows, least, width)
}

func left(text string) cell  { return cell{text: text} }
func right(text string) cell { return cell{text: text, right: true} }

func figure[T int | uint64](n T) cell { return right(fmt.Sprint(n)) }

// laneRows are the intake, the lanes and their sums.
func laneRows(s survey.Survey) [][]cell {
	if s.HoldBack == consumer.Nak {
		rows := [][]cell{{left("lane"), right("new"), right("out, held"), right("oldest"), right("redelivered")}}
		for _, l := range s.Lanes {
			rows = append(rows, []cell{left(string(l.Type)), figure(l.Due), figure(l.Out), right(short(l.OldestSeconds)), figure(l.Redelivered)})
		}
		return rows
	}
	rows := [][]cell{{left("lane"), right("due"), right("out"), right("held back"), right("due for"), right("oldest"), right("redelivered")}}
	var due uint64
	var out, redelivered int
	for _, l := range s.Lanes {
		rows = append(rows, []cell{left(string(l.Type)), figure(l.Due), figure(l.Out), held(l.HeldBack), right(short(l.DueSeconds)), right(short(l.OldestSeconds)), figure(l.Redelivered)})
		due, out, redelivered = due+l.Due, out+l.Out, redelivered+l.Redelivered
	}
	rows = append(rows, []cell{left("all"), figure(due), figure(out), held(s.HeldBack), right(""), right(""), figure(redelivered)})
	if i := s.Intake; i != nil {
		rows = append(rows, []cell{left("intake"), figure(i.Waiting), figure(i.Out), held(nil), right(short(i.WaitingSeconds)), right(""), figure(i.Redelivered)})
	}
	return rows
}

func held(n *uint64) cell {
	if n == nil {
		return right("-")
	}
	return figure(*n)
}

// outcomeRows have the processed events beside the dead letters.
func outcomeRows(s survey.Survey) [][]cell {
	rows := [][]cell{{left("processed"), right("last hour"), right("stored"), left("failed"), right("last hour"), right("stored")}}
	for i, r := range schema.Reasons() {
		row := []cell{left(""), left(""), left("")}
		if i < len(schema.Destinations()) {
			d := schema.Destinations()[i]
			row = []cell{left(string(d)), figure(s.Outcomes.LastHour.Processed[d]), figure(s.Outcomes.Stored.Processed[d])}
		}
		rows = append(rows, append(row, left(string(r)), figure(s.Outcomes.LastHour.Failed[r]), figure(s.Outcomes.Stored.Failed[r])))
	}
	return rows
}

// How much of a worker's key, host and version is shown.
const (
	keyShown     = 6
	hostShown    = 16
	versionShown = 12
)

func workerLines(s survey.Survey, width int) []string {
	rows := [][]cell{{left("worker"), left("host"), left("version"), left("state"), right("polls/s"), right("share")}}
	for _, w := range s.Workers {
		key := fit(asciiOnly(w.Worker), keyShown)
		if len(w.Worker) > keyShown {
			key = asciiOnly(w.Worker)[:keyShown]
		}
		if w.Problem != "" {
			rows = append(rows, []cell{left(key), left("?"), left("?"), {text: "unreadable", paint: red}, right("?"), right("?")})
			continue
		}
		share := "-"
		if w.Budget > 0 {
			share = strconv.FormatFloat(w.Share, 'f', 2, 64)
		}
		rows = append(rows, []cell{
			left(key), left(fit(asciiOnly(w.Host), hostShown)), left(fit(asciiOnly(w.Version), versionShown)), stateCell(w, s.At),
			right(strconv.FormatFloat(w.PollsPerSecond, 'f', 2, 64)), right(share),
		})
	}
	if len(rows) == 1 {
		return []string{faint.on(fit("no workers", width))}
	}
	return headed(rows, []int{keyShown, hostShown, versionShown, 24, 7, 5}, width)
}

// stateCell says what a worker does about the vendor, and why.
func stateCell(w survey.Worker, now time.Time) cell {
	const most = 24
	cause := asciiOnly(w.Cause)
	switch w.State {
	case schema.Working:
		return cell{text: "working", paint: green}
	case schema.Resting:
		text := "resting"
		if w.Until != nil && w.Until.After(now) {
			text += " " + short(w.Until.Sub(now).Seconds())
		}
		return cell{text: fit(text+": "+cause, most), paint: red}
	case schema.Probing:
		return cell{text: fit("probing: "+cause, most), paint: yellow}
	}
	return cell{text: fit(asciiOnly(string(w.State)), most), paint: yellow}
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

// wrap breaks a text into lines of at most width columns, between words where it can.
func wrap(text string, width int, indent string) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, fit(line, width))
			line = indent + word
		}
	}
	return append(lines, fit(line, width))
}
