package schema

import (
	"strings"
	"unicode"
)

// Printable is a text from outside on one line: white space becomes spaces, and the replacement character U+FFFD stands
// in the place of whatever else cannot be printed. So nothing in it moves a cursor, changes colours or begins a line.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return unicode.ReplacementChar
	}, s)
}
