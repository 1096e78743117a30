package schema_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// This package and those below it are pure: they import the standard library, each other, and few modules that do no
// I/O. This package itself imports no sibling.
func TestImports(t *testing.T) {
	allowed := map[string][]string{
		"fuzz":      nil,
		".":         {"github.com/go-json-experiment/json/jsontext"},
		"broker":    nil,
		"lifecycle": {"statusworker/schema", "statusworker/schema/broker"},
		// Only types of configurations.
		"topology": {"statusworker/schema", "github.com/nats-io/nats.go/jetstream", "golang.org/x/mod/semver"},
	}
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(file))
		found[folder] = true
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			first, _, _ := strings.Cut(path, "/")
			standard := first != "statusworker" && !strings.Contains(first, ".")
			impure := slices.Contains([]string{"os", "net", "net/http", "log", "io/fs", "database/sql"}, path)
			if impure || !standard && !slices.Contains(allowed[folder], path) {
				t.Errorf("%s imports %s; allowed: the pure standard library and %q", file, path, allowed[folder])
			}
		}
		return nil
	})
	if err != nil || len(found) != len(allowed) {
		t.Fatalf("packages %v (%v), want %d", found, err, len(allowed))
	}
}
