package schema_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Others import this package for its nouns. What it needs itself is the standard library and a JSON tokenizer.
func TestImports(t *testing.T) {
	const tokenizer = "github.com/go-json-experiment/json/jsontext"
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files: %v", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			first, _, _ := strings.Cut(path, "/")
			sibling := first == "statusworker"
			standard := !sibling && !strings.Contains(first, ".")
			if !standard && path != tokenizer {
				t.Errorf("%s imports %s, want the standard library and %s only", file, path, tokenizer)
			}
		}
	}
}
