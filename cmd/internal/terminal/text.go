package terminal

import (
	"strings"
	"unicode/utf8"
)

// TextWidth is the maximum width of lines of prose.
const TextWidth = 100

// Wrap breaks a text between words into lines of at most width columns. A longer word gets its own line, uncut.
func Wrap(text string, width int) (lines []string) {
	var line string
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// Fill breaks a text into lines of at most width columns. It splits longer words. Lines after the first begin with
// indent.
func Fill(text string, width int, indent string) []string {
	var words []string
	longest := max(1, width-len(indent))
	for _, word := range strings.Fields(text) {
		letters := []rune(word)
		for ; len(letters) > longest; letters = letters[longest:] {
			words = append(words, string(letters[:longest]))
		}
		words = append(words, string(letters))
	}
	var lines []string
	line := ""
	for _, word := range words {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, Fit(line, width))
			line = indent + word
		}
	}
	return append(lines, Fit(line, width))
}
