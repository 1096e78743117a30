package consumer_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// No package imports the client library of the broker, and the packages below consumer do not import it.
func TestImports(t *testing.T) {
	for _, dir := range []string{".", "breaker", "clock", "fleet", "redelivery"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("the files of %s are %v, %v", dir, files, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || file == "topology.go" { // it describes streams for the library
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				path := strings.Trim(spec.Path.Value, `"`)
				if path == "statusworker/consumer" || strings.HasPrefix(path, "statusworker/cmd") ||
					strings.HasPrefix(path, "github.com/nats-io/") {
					t.Errorf("%s imports %s", file, path)
				}
			}
		}
	}
}
