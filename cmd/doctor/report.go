package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// WriteText writes one line for each finding.
func WriteText(w io.Writer, found []Finding) error {
	wide := 0
	for _, f := range found {
		wide = max(wide, len(f.Check))
	}
	for _, f := range found {
		line := fmt.Sprintf("%s  %-*s  %s", f.Result, wide, f.Check, f.Found)
		if f.Mend != "" {
			line += "; mend: " + f.Mend
		}
		if _, err := fmt.Fprintln(w, clean(line)); err != nil {
			return err
		}
	}
	return nil
}

// WriteJSON writes the findings as an array.
func WriteJSON(w io.Writer, found []Finding) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(found)
}

// clean keeps what servers say from breaking out of its line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
