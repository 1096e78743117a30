package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"statusworker/cmd/internal/terminal"
	"statusworker/consumer"
	"statusworker/consumer/overview"
	"statusworker/schema"
)

// statusWidth is how wide an overview is drawn where there is no terminal.
const statusWidth = 80

// someWorkers is how many workers are shown before lanes and outcomes have room.
const someWorkers = 3

// drawStatus gives a view as lines of at most width columns. Where most is not 0, there are no more lines than that. Room
// goes to the title, the advice, a worker, some workers, lanes, outcomes, the other workers, in this order.
func drawStatus(v statusView, width, most int) []string {
	width = min(width, terminal.Widest)
	top := []string{terminal.Fit(titleLine(v), width)}
	if !v.stale.IsZero() {
		top = append(top, terminal.Red.On(terminal.Fit(fmt.Sprintf("STALE since %s: %v", v.stale.Format(time.TimeOnly), asciiOnly(v.why.Error())), width)))
	}
	var lanes, outcomes, workers block
	if v.Redelivery != "" { // without streams there is nothing to count
		lanes, outcomes, workers = laneBlock(v.Overview, width), outcomeBlock(v.Overview, width), workerBlock(v.Overview, width)
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

// block is a table that can be drawn with fewer rows. Its zero value has no lines.
type block struct {
	head string
	rows []ranked
	// none are the names of what has no figures.
	none  []string
	width int
}

// ranked is a row of a block. Where there is not enough room, rows of a lower rank are kept.
type ranked struct {
	line string
	rank int
}

// newBlock makes a block of a grid whose first row is the head; rank gives the rank of each other row.
func newBlock(cells [][]terminal.Cell, least []int, width int, none []string, rank func(i int) int) block {
	lines := headed(cells, least, width)
	b := block{head: lines[0], none: none, width: width}
	for i, line := range lines[1:] {
		b.rows = append(b.rows, ranked{line, rank(i)})
	}
	return b
}

// size is how many lines n rows take.
func (b block) size(n int) int {
	switch {
	case b.head == "":
		return 0
	case n < len(b.rows):
		return n + 2 // the head, and how many more there are
	}
	return 1 + len(b.rows) + len(named(b.none, b.width, math.MaxInt))
}

// least is how few lines are of use.
func (b block) least() int {
	if b.head == "" || len(b.rows) > 1 {
		return b.size(1)
	}
	return 1 + len(b.rows) + min(1, len(b.none))
}

// lines draws the block in so much room.
func (b block) lines(room, width int) []string {
	if b.head == "" || room <= 0 {
		return nil
	}
	lines := []string{b.head}
	if spare := room - 1 - len(b.rows); spare >= 0 {
		for _, r := range b.rows {
			lines = append(lines, r.line)
		}
		for _, line := range named(b.none, width, spare) {
			lines = append(lines, terminal.Faint.On(line))
		}
		return lines
	}
	if room < b.size(1) {
		lines = nil // a row says more than the head
	}
	n := max(1, room-len(lines)-1)
	order := make([]int, len(b.rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(b.rows[i].rank, b.rows[j].rank) })
	for _, i := range slices.Sorted(slices.Values(order[:n])) {
		lines = append(lines, b.rows[i].line)
	}
	if len(lines) < room {
		lines = append(lines, terminal.Faint.On(terminal.Fit(fmt.Sprintf("and %d more", len(b.rows)-n), width)))
	}
	return lines
}

// named is a line with names, or as many as it takes; where that are more than most, it says how many are left out.
func named(names []string, width, most int) []string {
	for n := len(names); n > 0; n-- {
		text := "none: " + strings.Join(names[:n], ", ")
		if n < len(names) {
			text += fmt.Sprintf(" and %d more", len(names)-n)
		}
		if lines := terminal.Fill(text, width, "  "); len(lines) <= most || n == 1 {
			return lines[:min(len(lines), most)]
		}
	}
	return nil
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

// shortened draws pieces of advice in so much room: as much of each as of the others, and each at least by a line. Where
// there is no room for that, it says how many are left out.
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

func titleLine(v statusView) string {
	title := "statusworker status   " + v.At.UTC().Format("2006-01-02 15:04:05") + " UTC"
	if v.Redelivery != "" {
		title += "   redelivery " + string(v.Redelivery)
	}
	if v.CountedAt.Before(v.At) {
		title += "   counted " + v.CountedAt.UTC().Format(time.TimeOnly)
	}
	return title
}

// headed is a grid whose first row is a head. Columns are as wide as least says where that fits.
func headed(rows [][]terminal.Cell, least []int, width int) []string {
	for i := range rows[0] {
		rows[0][i].Paint = terminal.Faint
	}
	return terminal.Grid(rows, fitting(least, width), width)
}

// fitting gives nil where columns of these widths take more than width.
func fitting(least []int, width int) []int {
	sum := -2
	for _, n := range least {
		sum += n + 2
	}
	if sum > width {
		return nil
	}
	return least
}

func left(text string) terminal.Cell  { return terminal.Cell{Text: text} }
func right(text string) terminal.Cell { return terminal.Cell{Text: text, Right: true} }

func figure[T int | uint64](n T) terminal.Cell { return right(fmt.Sprint(n)) }

// laneBlock has the lanes and the intake that have figures, and the sum of the lanes.
func laneBlock(s overview.Overview, width int) block {
	reserve := s.Redelivery != consumer.Nak
	rows := [][]terminal.Cell{{left("lane"), right("new"), right("out, held"), right("oldest"), right("redelivered")}}
	if reserve {
		rows = [][]terminal.Cell{{left("lane"), right("due"), right("out"), right("held back"), right("due for"), right("oldest"), right("redelivered")}}
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
			rows = append(rows, []terminal.Cell{left(string(l.Type)), figure(l.Due), figure(l.Out), held(l.Waiting), right(short(l.DueSeconds)), right(short(l.OldestSeconds)), figure(l.Redelivered)})
		default:
			rows = append(rows, []terminal.Cell{left(string(l.Type)), figure(l.Due), figure(l.Out), right(short(l.OldestSeconds)), figure(l.Redelivered)})
		}
	}
	sum := 0
	if reserve && len(rows) > 1 {
		sum = len(rows)
		rows = append(rows, []terminal.Cell{left("all"), figure(due), figure(out), held(s.Waiting), right(""), right(""), figure(redelivered)})
	}
	if i := s.Intake; i != nil {
		if i.Waiting == 0 && i.Out == 0 && i.Redelivered == 0 && i.WaitingSeconds == 0 && i.PausedUntil == nil {
			none = append(none, "intake")
		} else {
			rows = append(rows, []terminal.Cell{left("intake"), figure(i.Waiting), figure(i.Out), held(nil), right(short(i.WaitingSeconds)), right(""), figure(i.Redelivered)})
		}
	}
	return newBlock(rows, []int{10, 8, 8, 9, 8, 8, 11}, width, none, func(i int) int {
		if i == sum-1 {
			return 0 // the sum says most
		}
		return 1
	})
}

// idle tells whether there is nothing to show of a lane. All is what is held back in all lanes, of which a lane may have a
// part that was not counted.
func idle(l overview.Lane, all *uint64) bool {
	held := l.Waiting
	if held == nil {
		held = all
	}
	return l.Due == 0 && l.Out == 0 && l.Redelivered == 0 && l.DueSeconds == 0 && l.OldestSeconds == 0 && l.PausedUntil == nil && (held == nil || *held == 0)
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

// outcomeBlock has the kinds of outcomes of which there are some: the processed events beside the dead letters, or above
// them where that takes too many columns.
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
	rows := [][]terminal.Cell{{left("processed"), right("last hour"), right("stored"), left("failed"), right("last hour"), right("stored")}}
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

// How much of a worker's key, host and version is shown.
const (
	keyShown     = 6
	hostShown    = 16
	versionShown = 12
)

// workerBlock has the workers; those that do not work have room first.
func workerBlock(s overview.Overview, width int) block {
	rows := [][]terminal.Cell{{left("worker"), left("host"), left("version"), left("state"), right("polls/s"), right("share")}}
	for _, w := range s.Workers {
		key := terminal.Fit(asciiOnly(w.Worker), keyShown)
		if len(w.Worker) > keyShown {
			key = asciiOnly(w.Worker)[:keyShown]
		}
		if w.Problem != "" {
			rows = append(rows, []terminal.Cell{left(key), left("?"), left("?"), {Text: "unreadable", Paint: terminal.Red}, right("?"), right("?")})
			continue
		}
		share := "-"
		if w.RateLimit > 0 {
			share = strconv.FormatFloat(w.Share, 'f', 2, 64)
		}
		rows = append(rows, []terminal.Cell{
			left(key), left(terminal.Fit(asciiOnly(w.Host), hostShown)), left(terminal.Fit(asciiOnly(w.Version), versionShown)), stateCell(w, s.At),
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
