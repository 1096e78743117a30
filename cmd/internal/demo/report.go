package demo

import (
	"fmt"
	"io"
	"time"

	"statusworker/cmd/internal/terminal"
)

// maxDead limits how many dead letters of one reason are shown.
const maxDead = 3

// write shows the report in lines of at most width columns. 0 is unlimited.
func (r report) write(w io.Writer, width int) {
	fmt.Fprintf(w, "\nMessages in %s by subject\n", r.stream)
	var rows [][]terminal.Cell
	for _, s := range r.subjects {
		rows = append(rows, []terminal.Cell{{Text: "  " + s.subject}, {Text: fmt.Sprint(s.count), Right: true}})
	}
	writeLines(w, terminal.Grid(rows, nil, width))

	fmt.Fprintf(w, "\nDead letters\n")
	shown := 0
	for i, l := range r.dead {
		last := i+1 == len(r.dead) || r.dead[i+1].reason != l.reason
		if shown++; shown <= maxDead {
			fmt.Fprintf(w, "  %s  %s\n", l.identifier, l.reason)
			detail := "      " + l.detail
			if width > 0 {
				detail = terminal.Fit(detail, width)
			}
			fmt.Fprintf(w, "%s\n", detail)
		}
		if last {
			if shown > maxDead {
				fmt.Fprintf(w, "  and %d more %s\n", shown-maxDead, l.reason)
			}
			shown = 0
		}
	}

	fmt.Fprintf(w, "\nPolls by lane\n")
	rows = [][]terminal.Cell{{{Text: "  lane"}}}
	for _, title := range []string{"interactions", "polls", "max polls each", "min gap", "poll interval"} {
		rows[0] = append(rows[0], terminal.Cell{Text: title, Right: true})
	}
	polls := 0
	for _, l := range r.lanes {
		gap := "-"
		if l.twice {
			gap = l.minGap.Round(time.Millisecond).String()
		}
		row := []terminal.Cell{{Text: "  " + string(l.typ)}}
		for _, v := range []any{l.interactions, l.polls, l.maxPolls, gap, l.interval} {
			row = append(row, terminal.Cell{Text: fmt.Sprint(v), Right: true})
		}
		rows = append(rows, row)
		polls += l.polls
	}
	writeLines(w, terminal.Grid(rows, nil, width))

	fmt.Fprintf(w, "\n%d interactions (%d declared twice), %d messages stored, %d polls, %.1f s\n",
		r.interactions, r.twice, r.outcomes, polls, r.took.Seconds())
	fmt.Fprintf(w, "missing %d, duplicate %d, unexpected %d, polled too early %d\n",
		len(r.missing), len(r.doubled), len(r.unexpected), len(r.early))
	if r.verdict() == nil {
		fmt.Fprintln(w, "all outcomes are as expected")
	}
}

func writeLines(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintf(w, "%s\n", line)
	}
}
