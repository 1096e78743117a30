package terminal

import (
	"fmt"

	"statusworker/schema"
)

// FieldIndent is the column in which the values of [Fields] begin.
const FieldIndent = 15

// Fields formats a named value as lines of at most width columns; none if the value is empty. The value may come from
// outside.
func Fields(name, value string, width int) (lines []string) {
	if value == "" {
		return nil
	}
	for _, line := range Wrap(schema.Printable(value), width-FieldIndent) {
		lines = append(lines, fmt.Sprintf("  %-*s%s", FieldIndent-2, name, line))
		name = ""
	}
	return lines
}
