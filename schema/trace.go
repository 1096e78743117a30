package schema

import (
	"regexp"
	"strings"
)

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// TraceContext returns s if it is a valid W3C traceparent of 55 characters, and otherwise an empty string. Version ff
// and identifiers of zeros are invalid.
func TraceContext(s string) string {
	if !traceparent.MatchString(s) || strings.HasPrefix(s, "ff") || s[3:35] == zeros || s[36:52] == zeros[:16] {
		return ""
	}
	return s
}

const zeros = "00000000000000000000000000000000"

// Traceparent returns the valid W3C trace context in the headers `traceparent` and `ce-traceparent` of a message, with
// names in any case; or an empty string. Of several it returns that of the last name in byte order: `traceparent`
// precedes `ce-traceparent`, and both precede `Traceparent`.
func Traceparent(headers map[string][]string) string {
	var t traceparents
	for name, values := range headers {
		for _, v := range values {
			t.see(name, v)
		}
	}
	return t.value
}

// traceparents selects one of several named values, independent of their order. It ignores invalid values.
type traceparents struct{ name, value string }

func (t *traceparents) see(name, value string) {
	if !strings.EqualFold(name, HeaderTraceparent) && !strings.EqualFold(name, "ce-"+HeaderTraceparent) {
		return
	}
	if name > t.name && TraceContext(value) != "" {
		*t = traceparents{name, value}
	}
}
