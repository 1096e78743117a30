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
		t.Errorf("no refusals are %q", r)
	}
	for n := 1; n <= schema.RefusalsCounted+2; n++ {
		r = r.Next(404, begin.Add(time.Duration(n-1)*time.Minute))
		if want := (schema.Refusals{StatusCode: 404, Count: min(n, schema.RefusalsCounted), Since: begin}); !r.Equal(
			want,
		) {
			t.Errorf("refusal %d: %v, want %v", n, r, want)
		}
		if read := schema.ParseRefusals(r.String()); !read.Equal(r) {
			t.Errorf("%q is read as %v", r.String(), read)
		}
	}
	if other, want := r.Next(
		410,
		begin.Add(time.Hour),
	), (schema.Refusals{StatusCode: 410, Count: 1, Since: begin.Add(time.Hour)}); !other.Equal(
		want,
	) {
		t.Errorf("another HTTP status gives %v, want %v", other, want)
	}
	for _, s := range []string{
		"404", "404 2", "404 2 yesterday", "404 0 2026-11-27T01:02:03Z", "404 -1 2026-11-27T01:02:03Z", "404 100 2026-11-27T01:02:03Z",
		"x 2 2026-11-27T01:02:03Z", "0 2 2026-11-27T01:02:03Z", "404 2 2026-11-27T01:02:03Z more", "404 99999999999999999999 2026-11-27T01:02:03Z",
	} {
		if r := schema.ParseRefusals(s); !r.Equal(schema.Refusals{}) {
			t.Errorf("%q is read as %v, want none", s, r)
		}
	}
}
