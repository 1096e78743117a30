package schema

import (
	"bytes"
	"strings"
)

// TrimBOM returns text without a byte order mark of UTF-8. It shares the memory of text.
func TrimBOM(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }

// ForeignEncoding returns `UTF-16` or `UTF-32` for JSON text that begins as in these encodings: with their byte order
// mark, or with a bracket or white space beside zero bytes. For all other text it returns an empty string.
func ForeignEncoding(text []byte) string {
	for _, encoding := range []struct {
		name             string
		littleEndianMark string
		bigEndianMark    string
	}{
		{"UTF-32", "\xff\xfe\x00\x00", "\x00\x00\xfe\xff"}, // first: it begins with the mark of UTF-16
		{"UTF-16", "\xff\xfe", "\xfe\xff"},
	} {
		size := len(encoding.bigEndianMark)
		if len(text) < size {
			continue
		}
		zeros := make([]byte, size-1)
		switch first := string(text[:size]); {
		case first == encoding.littleEndianMark, first == encoding.bigEndianMark,
			beginsJSON(text[0]) && bytes.Equal(text[1:size], zeros),
			beginsJSON(text[size-1]) && bytes.Equal(text[:size-1], zeros):
			return encoding.name
		}
	}
	return ""
}

func beginsJSON(b byte) bool { return strings.IndexByte("{[ \t\r\n", b) >= 0 }
