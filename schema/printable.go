package schema

import (
	"strings"
	"unicode"
)

// Printable returns a text from outside that is safe to print on one line of a terminal: it replaces white space by
// spaces, and all other characters that are not printable by U+FFFD.
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
