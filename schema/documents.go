package schema

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed *.schema.json asyncapi.json
var documents embed.FS

// The golden messages of the tests are the examples.
//
//go:embed testdata/declared/*.json testdata/outcomes/*.json
var examples embed.FS

// UnknownDocumentError is the error of a name that no document, or no example, has.
type UnknownDocumentError struct {
	Kind    string // "document" or "example"
	Name    string
	Allowed []string
}

func (e *UnknownDocumentError) Error() string {
	return fmt.Sprintf("%s %s not found; allowed: %s", e.Kind, Quote(e.Name), strings.Join(e.Allowed, ", "))
}

// Document returns a document of the contract: the JSON Schema (2020-12) of a message, an answer or a status, or the
// AsyncAPI document of subjects and messages. The name is not case-sensitive. Its last extension, or all of them, may
// be omitted. The error is an [*UnknownDocumentError].
func Document(name string) ([]byte, error) {
	for _, file := range Documents() {
		for stem := file; ; stem = strings.TrimSuffix(stem, path.Ext(stem)) {
			if strings.EqualFold(stem, name) {
				return documents.ReadFile(file)
			}
			if path.Ext(stem) == "" {
				break
			}
		}
	}
	return nil, &UnknownDocumentError{"document", name, Documents()}
}

// Documents returns the names of all documents, in alphabetical order.
func Documents() []string {
	entries, err := documents.ReadDir(".")
	if err != nil {
		panic(err) // the directory is embedded
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Example returns a message as it is stored. The name is not case-sensitive. The error is an [*UnknownDocumentError].
func Example(name string) ([]byte, error) {
	for _, file := range exampleFiles() {
		if strings.EqualFold(stem(file), name) {
			return examples.ReadFile(file)
		}
	}
	return nil, &UnknownDocumentError{"example", name, Examples()}
}

// Examples returns the names of all examples: declared messages, and outcomes of each destination and reason.
func Examples() []string {
	var names []string
	for _, file := range exampleFiles() {
		names = append(names, stem(file))
	}
	return names
}

func exampleFiles() []string {
	var files []string
	for _, directory := range []string{"testdata/declared", "testdata/outcomes"} {
		entries, err := examples.ReadDir(directory)
		if err != nil {
			panic(err) // the directory is embedded
		}
		for _, e := range entries {
			files = append(files, path.Join(directory, e.Name()))
		}
	}
	return files
}

func stem(file string) string { return strings.TrimSuffix(path.Base(file), path.Ext(file)) }
