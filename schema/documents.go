package schema

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed *.schema.json asyncapi.json
var documents embed.FS

// UnknownDocumentError says that there is no document of a name.
type UnknownDocumentError struct{ Name string }

func (e *UnknownDocumentError) Error() string {
	return fmt.Sprintf("there is no document %s, want one of %s", Quote(e.Name), strings.Join(Documents(), ", "))
}

// Document gives the contract document of that name: a JSON Schema (2020-12) of one message or answer, or the AsyncAPI
// document that says which message travels on which subject. The case of the name does not matter, and its endings may
// be left out, the last or all. The error is an [*UnknownDocumentError].
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
	return nil, &UnknownDocumentError{name}
}

// Documents lists the names that [Document] takes, in alphabetical order.
func Documents() []string {
	entries, err := documents.ReadDir(".")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
