package console

import (
	"slices"
	"strings"
	"testing"
	"time"

	"statusworker/cmd/overview"
)

// A chart begins with its second sample, stays inside of its area, and names its last and its largest value.
func TestLine(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	polls := func(s sample) float64 { return s.polls }
	samples := []sample{{at: began, polls: 1200}, {at: began.Add(time.Minute), polls: 0},
		{at: began.Add(4 * time.Minute), polls: 7.25}}
	if c := line("x", samples[:1], polls); c.Line != "" || c.Last != "1,200" {
		t.Errorf("one sample: %+v", c)
	}
	c := line("x", samples, polls)
	if c.Last != "7.2" || c.Max != "1,200" || c.Span != "4m" {
		t.Errorf("three samples: %+v", c)
	}
	if want := "M0.0 3.0L75.0 57.0L300.0 56.7"; c.Line != want || !strings.HasPrefix(c.Area, want) {
		t.Errorf("line %s, want %s", c.Line, want)
	}
	if c := line("x", nil, polls); c.Line != "" || c.Last != "–" {
		t.Errorf("no samples: %+v", c)
	}
	for i := range samples {
		samples[i].polls = 0
	}
	if c := line("x", samples, polls); strings.Contains(c.Line, "NaN") {
		t.Errorf("only zeros: %s", c.Line)
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n, largest uint64
		want       int
	}{{0, 0, 0}, {0, 9, 0}, {1, 1_000_000, 1}, {5, 10, 50}, {10, 10, 100}} {
		if got := share(c.n, c.largest); got != c.want {
			t.Errorf("share of %d in %d: %d, want %d", c.n, c.largest, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	many := uint64(1234567)
	for want, n := range map[string]any{
		"0": 0, "999": 999, "1,000": uint64(1000), "1,234,567": &many, "–": (*uint64)(nil),
		"-100": -100, "-1,000": -1000,
	} {
		if got := number(n); got != want {
			t.Errorf("number %v: %s, want %s", n, got, want)
		}
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]part{
		"":                    nil,
		"plain":               {{"plain", false}},
		"run `a b`, then `c`": {{"run ", false}, {"a b", true}, {", then ", false}, {"c", true}},
		"an odd `one":         {{"an odd `one", false}},
		"`a` and `b":          {{"a", true}, {" and `b", false}},
	} {
		if got := parts(text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// The charts have a bounded number of samples, and at first one for each overview.
func TestSamples(t *testing.T) {
	t.Parallel()
	f := &feed{taken: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	for range 10 * keepSamples {
		f.add(overview.Overview{})
		f.taken = f.taken.Add(takeEvery)
	}
	if len(f.samples) != keepSamples {
		t.Errorf("%d samples, want %d", len(f.samples), keepSamples)
	}
	if gap := f.samples[1].at.Sub(f.samples[0].at); gap != idleEvery {
		t.Errorf("%s between two samples, want %s", gap, idleEvery)
	}
}
