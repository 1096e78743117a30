package schema

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed *.schema.json asyncapi.json
var documents embed.FS

// UnknownDocumentError is the error of a name that no document has.
type UnknownDocumentError struct{ Name string }

func (e *UnknownDocumentError) Error() string {
	return fmt.Sprintf("document %s not found; allowed: %s", Quote(e.Name), strings.Join(Documents(), ", "))
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
	return nil, &UnknownDocumentError{name}
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
