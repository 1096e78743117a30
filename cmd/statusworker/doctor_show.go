package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"statusworker/cmd/internal/doctor"
	"statusworker/cmd/internal/terminal"
	"statusworker/schema"
)

// showFindings writes what was found for people: a line for what is right; for what is not, all of it and below it the
// fix; what was not checked, together; and at the end how many there are of each.
func showFindings(w io.Writer, found []doctor.Finding, width int) error {
	if width == 0 || width > terminal.TextWidth {
		width = terminal.TextWidth
	}
	wide := 0
	for _, f := range found {
		wide = max(wide, len(f.Check))
	}
	indent := len(doctor.Pass) + 2 + wide + 2
	room := max(width-indent, 20)
	var b strings.Builder
	line := func(result doctor.Result, check string, texts ...string) {
		for i, text := range texts {
			if i > 0 {
				result, check = "    ", ""
			}
			b.WriteString(strings.TrimRight(fmt.Sprintf("%s  %-*s  %s", result, wide, check, text), " ") + "\n")
		}
	}
	count := map[doctor.Result]int{}
	for i := 0; i < len(found); i++ {
		f := found[i]
		count[f.Result]++
		switch f.Result {
		case doctor.Pass:
			line(f.Result, f.Check, terminal.Fit(schema.Printable(f.Found), room))
			continue
		case doctor.Skip:
			checks := []string{f.Check}
			for i+1 < len(found) && found[i+1].Result == doctor.Skip && found[i+1].Found == f.Found && found[i+1].Fix == f.Fix {
				i++
				count[doctor.Skip]++
				checks = append(checks, found[i].Check)
			}
			if len(checks) > 1 {
				f.Check, f.Found = fmt.Sprintf("%d checks", len(checks)), f.Found+": "+strings.Join(checks, ", ")
			}
		}
		texts := terminal.Wrap(schema.Printable(f.Found), room)
		if f.Fix != "" {
			texts = slices.Concat(texts, terminal.Wrap("fix: "+schema.Printable(f.Fix), room))
		}
		line(f.Result, f.Check, texts...)
	}
	verdict := "a worker with these flags can work"
	if doctor.AnyFailed(found) {
		verdict = "a worker with these flags cannot work as it should"
	}
	fmt.Fprintf(&b, "\n%d checks: passed %d, warnings %d, failed %d, skipped %d: %s\n",
		len(found), count[doctor.Pass], count[doctor.Warn], count[doctor.Fail], count[doctor.Skip], verdict)
	_, err := io.WriteString(w, b.String())
	return err
}
