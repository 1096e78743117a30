package demo

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/terminal"
	"statusworker/schema"
)

// showPlain writes lines until ctx ends: one for each special case that has ended, and the progress once a second.
func showPlain(ctx context.Context, w io.Writer, watch *watcher, title string) {
	stream := watch.names.StreamOutcomes()
	fmt.Fprintf(w, "%s\n", title)
	fmt.Fprintf(w, "%7s  %-10s %-8s  %-24s -> stored outcome\n", "time", "type", "id", "special case")
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	shown := map[string]bool{}
	last := -1
	for {
		_, changed := watch.since(0)
		v := watch.view()
		for _, s := range v.states {
			if s.story != "" && !s.ended.IsZero() && !shown[s.identifier] {
				shown[s.identifier] = true
				fmt.Fprintf(w, "%5.1f s  %-10s %s  %-24s -> %s, after %s\n",
					v.elapsed.Seconds(), s.typ, s.identifier[:8], s.story, strings.Join(s.kinds, " + "), polls(s.polls))
			}
		}
		select {
		case <-changed:
		case <-ticker.C:
			if v := watch.view(); v.polls+v.landed != last {
				last = v.polls + v.landed
				fmt.Fprintf(w, "%5.1f s  %d interactions declared, %s, %d of %d expected messages in %s\n",
					v.elapsed.Seconds(), v.declared, polls(v.polls), v.landed, v.expected, stream)
			}
		case <-ctx.Done():
			return
		}
	}
}

func polls(n int) string {
	if n == 1 {
		return "1 poll"
	}
	return fmt.Sprintf("%d polls", n)
}

const (
	frameEvery = 100 * time.Millisecond
	// linger is how long an ended interaction keeps its row while others wait for one.
	linger = time.Second
)

// showLive redraws a table until ctx ends. Its last state stays on the screen.
func showLive(ctx context.Context, p cli.Process, watch *watcher, notes *notes, title string) {
	s := &screen{title: title, Screen: terminal.Screen{Bare: p.Getenv("NO_COLOR") != ""}}
	draw := func() {
		width, height := terminal.Size(p.Stdout)
		frame := s.redraw(watch.view(), notes.last(notesShown), width, height)
		_, _ = p.Stdout.Write(frame) // the signal of a closed terminal ends ctx
	}
	ticker := time.NewTicker(frameEvery)
	defer ticker.Stop()
	fmt.Fprintln(p.Stdout, terminal.HideCursor)
	defer fmt.Fprint(p.Stdout, terminal.ShowCursor)
	for {
		draw()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			draw()
			return
		}
	}
}

const (
	notesShown = 2
	// storyWidth is the minimum width at which the table shows stories.
	storyWidth = 100
)

// screen draws the table of interactions.
type screen struct {
	terminal.Screen
	title string
	rows  []int
}

// redraw returns the bytes that replace the last frame on the terminal.
func (s *screen) redraw(v view, notes []string, width, height int) []byte {
	return s.Over(s.frame(v, notes, width, height), width, height)
}

// frame returns lines that fit the terminal.
func (s *screen) frame(v view, notes []string, width, height int) []string {
	width = min(width, terminal.MaxWidth)
	ended := 0
	for _, one := range v.states {
		if !one.ended.IsZero() {
			ended++
		}
	}
	lines := []string{terminal.Fit(s.title, width), progressLine(v, width)}
	// Around the rows: two lines above, two of the table's head, one below, the notes, and the line of the cursor.
	if n := height - 6 - notesShown; n > 0 {
		s.choose(v, n)
		rows := [][]terminal.Cell{{
			{Text: "identifier"}, {Text: "type"}, {Text: "last answer"},
			{Text: "polls", Right: true}, {Text: "outcome"},
		}}
		story := width >= storyWidth
		for _, i := range s.rows {
			rows = append(rows, row(v.states[i], story))
		}
		table := terminal.Grid(rows, []int{10, 10, 21, 5, 20}, width)
		lines = append(append(lines, table[0], terminal.Faint.On(strings.Repeat("─", width))), table[1:]...)
		if hidden := len(v.states) - len(s.rows); hidden > 0 {
			more := fmt.Sprintf("and %d more; %d of %d have ended", hidden, ended, len(v.states))
			lines = append(lines, terminal.Faint.On(terminal.Fit(more, width)))
		}
	}
	for _, n := range notes {
		lines = append(lines, terminal.Yellow.On(terminal.Fit(n, width)))
	}
	return lines[:min(len(lines), max(height-1, 1))]
}

// choose assigns the rows: an interaction keeps its row until it has ended and another one waits for a row.
func (s *screen) choose(v view, n int) {
	s.rows = s.rows[:min(n, len(s.rows))]
	next := 0
	another := func() (int, bool) {
		for ; next < len(v.states); next++ {
			if v.states[next].ended.IsZero() && !slices.Contains(s.rows, next) {
				return next, true
			}
		}
		return 0, false
	}
	for i, have := range s.rows {
		if ended := v.states[have].ended; !ended.IsZero() && v.now.Sub(ended) > linger {
			if other, ok := another(); ok {
				s.rows[i] = other
			}
		}
	}
	for len(s.rows) < min(n, len(v.states)) {
		other, ok := another()
		if !ok {
			break
		}
		s.rows = append(s.rows, other)
	}
}

func row(s state, story bool) []terminal.Cell {
	answer := terminal.Cell{Text: s.answer}
	switch {
	case s.answer == "":
		answer = terminal.Cell{Text: "-", Paint: terminal.Faint}
	case s.faulty:
		answer.Paint = terminal.Red
	}
	outcome := terminal.Cell{Text: strings.Join(s.kinds, " + "), Paint: terminal.Magenta}
	switch {
	case !s.declared:
		outcome.Text = ""
	case len(s.kinds) == 0:
		outcome = terminal.Cell{Text: "waiting", Paint: terminal.Faint}
	case slices.Contains(schema.Destinations(), schema.Destination(s.kinds[0])):
		outcome.Paint = terminal.Green
	}
	cells := []terminal.Cell{
		{Text: s.identifier[:8]}, {Text: string(s.typ)}, answer, {Text: fmt.Sprint(s.polls), Right: true}, outcome,
	}
	if story {
		cells = append(cells, terminal.Cell{Text: s.story, Paint: terminal.Faint})
	}
	return cells
}

// progressLine is a bar and the progress as text.
func progressLine(v view, width int) string {
	tail := fmt.Sprintf("  %d of %d messages stored, %s, %.1f s", v.landed, v.expected, polls(v.polls),
		v.elapsed.Seconds())
	tail = terminal.Fit(tail, width)
	bar := max(width-utf8.RuneCountInString(tail), 0)
	done := 0
	if v.expected > 0 {
		done = bar * v.landed / v.expected
	}
	return terminal.Green.On(strings.Repeat("█", done)) + terminal.Faint.On(strings.Repeat("░", bar-done)) + tail
}
