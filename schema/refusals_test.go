package schema_test

import (
	"testing"
	"time"

	"statusworker/schema"
)

func TestRefusals(t *testing.T) {
	begin := time.Date(2026, 11, 27, 1, 2, 3, 500_000_000, time.UTC)
	var r schema.Refusals
	if r.String() != "" || !schema.ParseRefusals("").Equal(r) {
		t.Errorf("no refusals: %q, want an empty string", r)
	}
	for n := 1; n <= schema.MaxRefusals+2; n++ {
		r = r.Next(404, begin.Add(time.Duration(n-1)*time.Minute))
		want := schema.Refusals{StatusCode: 404, Count: min(n, schema.MaxRefusals), Since: begin}
		if !r.Equal(want) {
			t.Errorf("refusal %d: %v, want %v", n, r, want)
		}
		if read := schema.ParseRefusals(r.String()); !read.Equal(r) {
			t.Errorf("ParseRefusals(%q) = %v", r.String(), read)
		}
	}
	want := schema.Refusals{StatusCode: 410, Count: 1, Since: begin.Add(time.Hour)}
	if other := r.Next(410, want.Since); !other.Equal(want) {
		t.Errorf("another HTTP status: %v, want %v", other, want)
	}
	for _, s := range []string{
		"404", "404 2", "404 2 yesterday", "404 0 2026-11-27T01:02:03Z", "404 -1 2026-11-27T01:02:03Z",
		"404 100 2026-11-27T01:02:03Z", "x 2 2026-11-27T01:02:03Z", "0 2 2026-11-27T01:02:03Z",
		"404 2 2026-11-27T01:02:03Z more", "404 99999999999999999999 2026-11-27T01:02:03Z",
	} {
		if r := schema.ParseRefusals(s); !r.Equal(schema.Refusals{}) {
			t.Errorf("ParseRefusals(%q) = %v, want none", s, r)
		}
	}
}
