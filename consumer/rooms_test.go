package consumer_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// The parts of the worker in packages of their own know nothing of the worker, and no client library of the broker.
func TestRoomsImport(t *testing.T) {
	for _, room := range []string{"breaker", "clock", "fleet"} {
		files, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("the files of %s are %v, %v", room, files, err)
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
				if path == "statusworker/consumer" || strings.HasPrefix(path, "statusworker/cmd") ||
					strings.HasPrefix(path, "github.com/nats-io/") {
					t.Errorf("%s imports %s", file, path)
				}
			}
		}
	}
}
