package schema

import (
	"regexp"
	"strings"
)

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// TraceContext is s where it is a W3C traceparent of 55 characters, and otherwise empty: version ff and identifiers
// that are all zero are invalid.
func TraceContext(s string) string {
	if !traceparent.MatchString(s) || strings.HasPrefix(s, "ff") || s[3:35] == zeros || s[36:52] == zeros[:16] {
		return ""
	}
	return s
}

const zeros = "00000000000000000000000000000000"

// Traceparent is the W3C trace context in the headers of a message, or empty: the first valid one of `traceparent` and
// `ce-traceparent`, the headers' names in any case. Where there are several, the one in the name that is last by bytes
// counts, which is the lower-case `traceparent`.
func Traceparent(headers map[string][]string) string {
	var t traceparents
	for name, values := range headers {
		for _, v := range values {
			t.see(name, v)
		}
	}
	return t.value
}

// traceparents chooses among named values, whatever their order. An invalid one is as if it were not there.
type traceparents struct{ name, value string }

func (t *traceparents) see(name, value string) {
	if !strings.EqualFold(name, HeaderTraceparent) && !strings.EqualFold(name, "ce-"+HeaderTraceparent) {
		return
	}
	if name > t.name && TraceContext(value) != "" {
		*t = traceparents{name, value}
	}
}
