package statusclient_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"statusworker/schema"
	"statusworker/statusclient"
)

// A detail shows the answer as it is if that is printable, so that a log line escapes it only once. Whatever the answer
// is, the detail is one short printable line, and the answer cannot pretend to end in it.
func TestDetailsQuoteAnswers(t *testing.T) {
	long := strings.Repeat(`{"a":"`, 1<<16)
	for _, tt := range []struct{ name, body, want string }{
		{"JSON", `{"errorMessage":"no \"file\" in C:\\a"}`, "`" + `{"errorMessage":"no \"file\" in C:\\a"}` + "`"},
		{"JSON on several lines", "{\r\n\t\"errorMessage\": \"Größe\"\n}", "`{ \"errorMessage\": \"Größe\" }`"},
		{"very long JSON", long, "`" + long[:64] + "`... (200 bytes)"},
		{"backquotes", "{\"a\":\"`no`\"}", "\"{\\\"a\\\":\\\"`no`\\\"}\""},
		{"a forged end", "x` \"\nlevel=info", "\"x` \\\" level=info\""},
		{"control characters", "\x00\x1b[2Jx\x7f", `"\x00\x1b[2Jx\x7f"`},
		{"a control character of Latin-1", "\u009b31m", `"\u009b31m"`},
		{"bidirectional controls", "\u202egnp.exe\u2069", `"\u202egnp.exe\u2069"`},
		{"line separators", "a\u2028b\u2029\u0085c", `"a b c"`},
		{"invalid UTF-8", "a\xffb", `"a\xffb"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, tt.body)
			})
			e := pollError(t, newClient(t, server.URL, statusclient.Config{}), schema.FaultUnavailable)
			if !strings.HasSuffix(e.Detail, ": "+tt.want) {
				t.Errorf("the detail is\n%s, want\n%s at its end", e.Detail, tt.want)
			}
			if strings.ContainsFunc(e.Detail, func(r rune) bool { return !unicode.IsPrint(r) }) || len(e.Detail) > 300 {
				t.Errorf("the detail is not one short printable line: %q", e.Detail)
			}
		})
	}
}
