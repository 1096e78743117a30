package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"
)

// Every edit applies to the source, and its result is a Go file. Adapt an edit when the source that it edits changes.
func TestMutantsApply(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two mutants are named %s", m.name)
		}
		names[m.name] = true
		files := map[string]string{}
		for _, e := range m.edits {
			text, ok := files[e.file]
			if !ok {
				data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
				if err != nil {
					t.Fatalf("mutant %s: %v", m.name, err)
				}
				text = string(data)
			}
			after, err := e.apply(text)
			if err != nil {
				t.Errorf("mutant %s: %v", m.name, err)
				continue
			}
			files[e.file] = after
		}
		for name, text := range files {
			if _, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution); err != nil {
				t.Errorf("mutant %s: %v", m.name, err)
			}
		}
	}
}

// An edit that does not apply exactly once is an error.
func TestEditApply(t *testing.T) {
	for text, want := range map[string]string{
		"a b c": "a x c", "a c": "", "b b": "",
	} {
		got, err := edit{file: "f.go", old: "b", new: "x"}.apply(text)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q becomes %q, %v; want %q", text, got, err, want)
		}
	}
}

// The median counts runs that broke no invariant as endless.
func TestMedian(t *testing.T) {
	for _, c := range []struct {
		histories []int
		survivals int
		want      string
	}{
		{[]int{3, 1, 2}, 0, "2"}, {[]int{4, 1}, 0, "2.5"}, {[]int{1, 2}, 1, "2"}, {[]int{1}, 1, "SURVIVED"},
		{nil, 1, "SURVIVED"},
	} {
		if got := (result{histories: c.histories, survivals: c.survivals}).median(); got != c.want {
			t.Errorf("median of %v and %d survivals is %s, want %s", c.histories, c.survivals, got, c.want)
		}
	}
}
