package schema

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.schema.json asyncapi.json
var documents embed.FS

// Document gives the contract document of that name: a JSON Schema (2020-12) of one message or answer, or the AsyncAPI
// document that says which message travels on which subject. The error lists the names that there are.
func Document(name string) ([]byte, error) {
	text, err := documents.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("there is no document %s, want one of %s", Quote(name), strings.Join(Documents(), ", "))
	}
	return text, nil
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
