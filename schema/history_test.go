package schema_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"statusworker/schema"
)

// A history has the changes only, and of many the oldest and the newest half. What was returned before does not change.
func TestHistory(t *testing.T) {
	t.Parallel()
	at := func(poll uint64) time.Time { return stored.Add(time.Duration(poll) * 30 * time.Second) }
	var values []string
	var want []schema.StatusChange
	see := func(status schema.Status, poll uint64) {
		t.Helper()
		before := slices.Clone(values)
		next := schema.AddChange(values, schema.StatusChange{Status: status, At: at(poll), Poll: poll})
		if !slices.Equal(values, before) {
			t.Errorf("poll %d modified the values %q, which were %q", poll, values, before)
		}
		values = next
		if got := schema.ReadHistory(values); !slices.Equal(got, want) {
			t.Errorf("after poll %d: %v, want %v", poll, got, want)
		}
	}
	changed := func(status schema.Status, poll uint64) schema.StatusChange {
		return schema.StatusChange{Status: status, At: at(poll), Poll: poll}
	}
	see("", 1)
	see("  ", 1)
	want = append(want, changed("declared", 1))
	see("declared", 1)
	see("declared", 2)
	see(" declared ", 3)
	want = append(want, changed("is  not documented: Ü", 4))
	see(" is  not documented: Ü ", 4)
	if got := schema.LastStatus(values); got != "is  not documented: Ü" {
		t.Errorf("last status %q", got)
	}
	want = append(want, changed("declared", 5))
	see("declared", 5)
	for poll := uint64(6); poll < 100; poll++ {
		status := schema.Status(fmt.Sprint("s", poll))
		want = append(want, changed(status, poll))
		if len(want) > schema.MaxHistory {
			want = slices.Delete(want, schema.MaxHistory/2, schema.MaxHistory/2+1)
		}
		see(status, poll)
		see(status, poll)
	}
	if len(values) != schema.MaxHistory || want[0].Poll != 1 || want[schema.MaxHistory-1].Poll != 99 {
		t.Errorf("%d values, from poll %d to %d", len(values), want[0].Poll, want[schema.MaxHistory-1].Poll)
	}
}

// Times have milliseconds, of any time zone, and the value is readable.
func TestHistoryValue(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 27, 2, 2, 3, 456_789_000, time.FixedZone("", 3600))
	got := schema.AddChange(nil, schema.StatusChange{Status: "processing", At: at, Poll: 3})
	if want := []string{"3 2026-11-27T01:02:03.456Z processing"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A forged header is at most as large as one of a worker, and nothing in it reaches an outcome that is not a status.
func TestForgedHistory(t *testing.T) {
	t.Parallel()
	const ours = "3 2026-11-27T01:02:03.456Z processing"
	for _, forged := range []string{
		"", " ", "3", "3 2026-11-27T01:02:03.456Z", "3 2026-11-27T01:02:03.456Z ", "-1 2026-11-27T01:02:03.456Z x",
		"3 yesterday x", "x 2026-11-27T01:02:03.456Z x", "3 2026-11-27T01:02:03.456Z \x1b[31mforged",
		"3 2026-11-27T01:02:03.456Z " + strings.Repeat("x", schema.MaxStatusBytes+1),
		"18446744073709551616 2026-11-27T01:02:03.456Z x", "3 9999-12-31T23:59:59.999-23:59 year 10000 in UTC",
		"3 0000-01-01T00:00:00.000+23:59 year -1 in UTC",
	} {
		if got := schema.ReadHistory([]string{forged, ours}); len(got) != 1 || got[0].Status != "processing" {
			t.Errorf("%q: %v, want only the other change", forged, got)
		}
		_ = schema.LastStatus([]string{forged}) // does not panic
	}
	for name, forged := range map[string][]string{
		"too many": slices.Repeat([]string{ours}, schema.MaxHistory+1), "too long": {ours, strings.Repeat("3", 4096)},
	} {
		if got := schema.BoundedHistory(forged); got != nil {
			t.Errorf("%d values of a header with %s, want none", len(got), name)
		}
		if got := schema.ReadHistory(forged); got != nil {
			t.Errorf("%d changes of a header with %s, want none", len(got), name)
		}
	}
	longest := schema.AddChange(nil, schema.StatusChange{
		Status: schema.Status(strings.Repeat("x", schema.MaxStatusBytes)), At: stored, Poll: 1<<64 - 1,
	})
	if got := schema.BoundedHistory(longest); len(got) != 1 {
		t.Errorf("the longest value of a worker is rejected: %q", longest)
	}
}
