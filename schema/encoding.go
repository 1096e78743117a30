package schema

import "bytes"

// TrimBOM is text without the byte order mark of UTF-8 that it may begin with. It shares the memory of text.
func TrimBOM(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }

// ForeignEncoding names the encoding of JSON text that begins as in UTF-16 or UTF-32: with their byte order mark, or
// with zero bytes beside its first character, a bracket or white space. For all other text it is empty.
func ForeignEncoding(text []byte) string {
	switch {
	case len(text) >= 4 && (string(text[:4]) == "\xff\xfe\x00\x00" || string(text[:4]) == "\x00\x00\xfe\xff" ||
		beginsJSON(text[0]) && string(text[1:4]) == "\x00\x00\x00" || string(text[:3]) == "\x00\x00\x00" && beginsJSON(text[3])):
		return "UTF-32"
	case len(text) >= 2 && (string(text[:2]) == "\xff\xfe" || string(text[:2]) == "\xfe\xff" ||
		beginsJSON(text[0]) && text[1] == 0 || text[0] == 0 && beginsJSON(text[1])):
		return "UTF-16"
	}
	return ""
}

func beginsJSON(b byte) bool { return bytes.IndexByte([]byte("{[ \t\r\n"), b) >= 0 }
