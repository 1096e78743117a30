package main

import (
	"fmt"
	"io"
	"strings"

	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/terminal"
	"statusworker/schema"
)

// showFindings writes findings for people: one line for a passed check, the whole text and the fix below it for others.
// It groups skipped checks, and ends with the number of each result if total is true.
func showFindings(w io.Writer, found []doctor.Finding, width int, total bool) error {
	if width == 0 || width > terminal.TextWidth {
		width = terminal.TextWidth
	}
	t := findingsTable{}
	for _, f := range found {
		t.checkWidth = max(t.checkWidth, len(f.Check))
	}
	t.textWidth = max(width-len(doctor.Pass)-2-t.checkWidth-2, 20)
	all, count := len(found), map[doctor.Result]int{}
	for len(found) > 0 {
		f, n := group(found)
		t.add(f)
		count[f.Result] += n
		found = found[n:]
	}
	verdict := "a worker with these flags can work"
	if count[doctor.Fail] > 0 {
		verdict = "a worker with these flags cannot work correctly"
	}
	if total {
		fmt.Fprintf(&t.text, "\n%d checks: passed %d, warnings %d, failed %d, skipped %d: %s\n",
			all, count[doctor.Pass], count[doctor.Warn], count[doctor.Fail], count[doctor.Skip], verdict)
	}
	_, err := io.WriteString(w, t.text.String())
	return err
}

// group returns the first finding, and how many it stands for. Consecutive checks that were skipped for the same reason
// become one finding.
func group(found []doctor.Finding) (doctor.Finding, int) {
	first := found[0]
	if first.Result != doctor.Skip {
		return first, 1
	}
	checks := []string{first.Check}
	for _, next := range found[1:] {
		if next.Result != doctor.Skip || next.Found != first.Found || next.Fix != first.Fix {
			break
		}
		checks = append(checks, next.Check)
	}
	if len(checks) > 1 {
		first.Check = fmt.Sprintf("%d checks", len(checks))
		first.Found += ": " + strings.Join(checks, ", ")
	}
	return first, len(checks)
}

// findingsTable has three columns: result, check, and text.
type findingsTable struct {
	checkWidth, textWidth int
	text                  strings.Builder
}

func (t *findingsTable) add(f doctor.Finding) {
	lines := []string{terminal.Fit(schema.Printable(f.Found), t.textWidth)}
	if f.Result != doctor.Pass {
		lines = terminal.Wrap(schema.Printable(f.Found), t.textWidth)
		if f.Fix != "" {
			lines = append(lines, terminal.Wrap("fix: "+schema.Printable(f.Fix), t.textWidth)...)
		}
	}
	result, check := f.Result, f.Check
	for _, line := range lines {
		row := fmt.Sprintf("%-4s  %-*s  %s", result, t.checkWidth, check, line)
		t.text.WriteString(strings.TrimRight(row, " ") + "\n")
		result, check = "", ""
	}
}
