package schema_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"statusworker/schema"
)

const otherTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

// badTraces are not trace contexts.
var badTraces = map[string]string{
	"empty":              "",
	"text":               "x",
	"zero trace id":      "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
	"zero parent id":     "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
	"version ff":         "ff" + traceState[2:],
	"upper case":         strings.ToUpper(traceState),
	"one letter upper":   strings.Replace(traceState, "b", "B", 1),
	"one byte short":     traceState[:len(traceState)-1],
	"one byte long":      traceState + "0",
	"with more behind":   traceState + "-00",
	"white space before": " " + traceState,
	"line break behind":  traceState + "\n",
	"other separators":   strings.ReplaceAll(traceState, "-", "_"),
	"two in one":         traceState + "," + otherTrace,
}

func TestTraceContext(t *testing.T) {
	for _, s := range []string{
		traceState, otherTrace, "01" + traceState[2:], "fe" + traceState[2:],
		"00-00000000000000000000000000000001-0000000000000001-00",
		"00-" + strings.Repeat("f", 32) + "-" + strings.Repeat("f", 16) + "-ff",
	} {
		if got := schema.TraceContext(s); got != s {
			t.Errorf("TraceContext(%q) = %q", s, got)
		}
	}
	for name, s := range badTraces {
		if got := schema.TraceContext(s); got != "" {
			t.Errorf("%s: TraceContext(%q) accepts it", name, got)
		}
	}
}

func TestTraceparent(t *testing.T) {
	type headers = map[string][]string
	bad := []string{badTraces["zero trace id"]}
	one, other := []string{traceState}, []string{otherTrace}
	for _, tt := range []struct {
		name    string
		headers headers
		want    string
	}{
		{"none", nil, ""},
		{"lower case", headers{"traceparent": one}, traceState},
		{"as Go writes it", headers{"Traceparent": one}, traceState},
		{"upper case", headers{"TRACEPARENT": one}, traceState},
		{"mixed", headers{"traceParent": one}, traceState},
		{"binary CloudEvent", headers{"ce-traceparent": one}, traceState},
		{"binary CloudEvent, as Go writes it", headers{"Ce-Traceparent": one}, traceState},
		{"binary CloudEvent, upper case", headers{"CE-TRACEPARENT": one}, traceState},
		{"no values", headers{"traceparent": nil, "Traceparent": one}, traceState},
		{"exact first",
			headers{"Traceparent": other, "TRACEPARENT": other, "ce-traceparent": other, "traceparent": one},
			traceState},
		{"lower case before upper", headers{"Traceparent": one, "TRACEPARENT": other}, traceState},
		{"an invalid one is ignored", headers{"traceparent": bad, "TRACEPARENT": one}, traceState},
		{"invalid in all names but one",
			headers{"traceparent": bad, "Traceparent": bad, "ce-traceparent": bad, "CE-Traceparent": one}, traceState},
		{"the first valid value", headers{"traceparent": {bad[0], traceState, otherTrace}}, traceState},
		{"all invalid", headers{"traceparent": bad, "Traceparent": bad}, ""},
		{"other names", headers{"x-traceparent": one, "tracestate": one, "traceparent\t": one, "ce_traceparent": one},
			""},
	} {
		for range 20 { // the order of a map is random
			if got := schema.Traceparent(maps.Clone(tt.headers)); got != tt.want {
				t.Fatalf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}

func TestDecodeReadsATraceContextInAnyCase(t *testing.T) {
	quoted := func(name, value string) string { return `,"` + name + `":"` + value + `"` }
	type row struct{ name, more, want string }
	rows := []row{
		{"exact first", quoted("TraceParent", otherTrace) + quoted("traceparent", traceState), traceState},
		{"exact first, in the other order", quoted("traceparent", traceState) + quoted("TraceParent", otherTrace),
			traceState},
		{"one that is not a string", `,"traceparent":5` + quoted("Traceparent", traceState), traceState},
		{"all invalid", quoted("traceparent", "x") + quoted("Traceparent", "y"), ""},
	}
	for _, name := range []string{"traceparent", "Traceparent", "TRACEPARENT", "traceParent"} {
		rows = append(rows, row{name, quoted(name, traceState), traceState})
	}
	for _, name := range slices.Sorted(maps.Keys(badTraces)) {
		if bad := badTraces[name]; !strings.Contains(bad, "\n") {
			invalid := quoted("traceparent", bad)
			rows = append(rows,
				row{"beside an invalid one: " + name, invalid + quoted("Traceparent", traceState), traceState},
				row{"invalid: " + name, invalid, ""})
		}
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			d, err := schema.Decode([]byte(enveloped(bare(""), tt.more)))
			if err != nil {
				t.Fatal(err)
			}
			if d.Traceparent != tt.want {
				t.Errorf("trace context %q, want %q", d.Traceparent, tt.want)
			}
		})
	}
}
