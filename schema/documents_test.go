package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"statusworker/schema"
)

const (
	declaredSchema   = "declared.schema.json"
	cloudEventSchema = "declared-cloudevent.schema.json"
	answerSchema     = "answer.schema.json"
	processedSchema  = "processed.schema.json"
	failedSchema     = "failed.schema.json"
	showSchema       = "show.schema.json"
	statusSchema     = "status.schema.json"
	asyncAPI         = "asyncapi.json"
)

// compiled returns the JSON Schemas by name, with assertions of formats and content encodings.
var compiled = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	schemas := make(map[string]*jsonschema.Schema)
	for _, name := range schema.Documents() {
		if name == asyncAPI {
			continue
		}
		text, err := schema.Document(name)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		c.AssertContent()
		id, _ := doc.(map[string]any)["$id"].(string)
		if err := c.AddResource(id, doc); err != nil {
			return nil, err
		}
		if schemas[name], err = c.Compile(id); err != nil {
			return nil, err
		}
	}
	return schemas, nil
})

func validate(t testing.TB, name string, message []byte) error {
	t.Helper()
	schemas, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
	if err != nil {
		return err
	}
	return schemas[name].Validate(v)
}

func document(t *testing.T, name string) map[string]any {
	t.Helper()
	text, err := schema.Document(name)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return doc
}

// A document is found by its name in any case, without its last extension or without all of them, and by no other name.
func TestDocumentIsFoundByItsName(t *testing.T) {
	found := 0
	for _, file := range schema.Documents() {
		want, err := schema.Document(file)
		if err != nil {
			t.Fatal(err)
		}
		stem, _, _ := strings.Cut(file, ".")
		for _, name := range []string{stem, strings.TrimSuffix(file, ".json")} {
			for _, name := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
				got, err := schema.Document(name)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("Document(%q) is not %s (%v)", name, file, err)
				}
				found++
			}
		}
		var doc map[string]any
		if err := json.Unmarshal(want, &doc); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if found < 6*len(schema.Documents()) {
		t.Errorf("%d names tested, want more", found)
	}
	for _, name := range []string{
		"", ".", "..", "/", "*", " asyncapi", "asyncapi ", "asyncapi.", "asyncapi.schema", "asyncapi.schema.json",
		"asyncapi.yaml", "declared.json", "declared.schema.json.json", "decl", "declared-", "../schema/asyncapi.json",
		"./asyncapi", ".schema.json", "documents.go", "asyncapi\x00",
	} {
		_, err := schema.Document(name)
		var unknown *schema.UnknownDocumentError
		if !errors.As(err, &unknown) || unknown.Name != name {
			t.Errorf("Document(%q): error %v", name, err)
			continue
		}
		for _, file := range schema.Documents() {
			if !strings.Contains(err.Error(), file) {
				t.Errorf("Document(%q) does not name %s: %v", name, file, err)
			}
		}
	}
}

func TestDocuments(t *testing.T) {
	want := []string{answerSchema, asyncAPI, cloudEventSchema, declaredSchema, failedSchema, processedSchema,
		showSchema, statusSchema}
	if got := schema.Documents(); !slices.Equal(got, want) {
		t.Errorf("Documents() = %q, want %q", got, want)
	}
	_, err := schema.Document("../secret\n")
	if err == nil {
		t.Fatal("Document returned a document that does not exist")
	}
	if !strings.Contains(err.Error(), schema.Quote("../secret\n")) ||
		!strings.Contains(err.Error(), strings.Join(want, ", ")) {
		t.Errorf("error %q, want one with the name and all documents", err)
	}
	first, _ := schema.Document(declaredSchema)
	clear(first)
	if again, _ := schema.Document(declaredSchema); again[0] != '{' {
		t.Error("a caller changed the embedded document")
	}
}

// plainKeywords mean the same in 2020-12 and in draft-07, which AsyncAPI tools use. $ref is not one of them: each file
// is complete.
var plainKeywords = []string{
	"$schema", "$id", "title", "description", "examples", "default", "type", "enum", "const", "pattern", "minLength",
	"maxLength", "minimum", "maxItems", "format", "contentEncoding", "required", "properties", "additionalProperties",
	"not", "anyOf", "if", "else", "items",
}

// walk calls visit for s and every schema in it.
func walk(at string, s map[string]any, visit func(at string, s map[string]any)) {
	visit(at, s)
	for _, keyword := range []string{"not", "if", "else", "items"} {
		if sub, ok := s[keyword].(map[string]any); ok {
			walk(at+"/"+keyword, sub, visit)
		}
	}
	if members, ok := s["properties"].(map[string]any); ok {
		for name, sub := range members {
			walk(at+"/properties/"+name, sub.(map[string]any), visit)
		}
	}
	if list, ok := s["anyOf"].([]any); ok {
		for _, sub := range list {
			walk(at+"/anyOf", sub.(map[string]any), visit)
		}
	}
}

func TestSchemasAreDescribedAndTheirExamplesValid(t *testing.T) {
	for _, name := range schema.Documents() {
		if name == asyncAPI {
			continue
		}
		doc := document(t, name)
		if got, want := doc["$schema"], "https://json-schema.org/draft/2020-12/schema"; got != want {
			t.Errorf("%s: $schema is %v, want %v", name, got, want)
		}
		walk(name, doc, func(at string, s map[string]any) {
			for keyword := range s {
				if !slices.Contains(plainKeywords, keyword) {
					t.Errorf("%s: keyword %s may have another meaning in draft-07", at, keyword)
				}
			}
			if strings.Contains(at, "/if") || strings.Contains(at, "/else") || strings.HasSuffix(at, "/not") {
				return
			}
			if s["title"] == nil || s["description"] == nil {
				t.Errorf("%s has no title or no description", at)
			}
			examples, _ := s["examples"].([]any)
			alone := maps.Clone(s)
			delete(alone, "$id")
			c := jsonschema.NewCompiler()
			c.AssertFormat()
			c.AssertContent()
			if err := c.AddResource("urn:part", alone); err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			part, err := c.Compile("urn:part")
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			for _, example := range examples {
				if err := part.Validate(example); err != nil {
					t.Errorf("%s: example %v: %v", at, example, err)
				}
			}
		})
	}
}

// at follows a path of keys into a document.
func at(t *testing.T, doc any, path ...string) map[string]any {
	t.Helper()
	for _, key := range path {
		m, ok := doc.(map[string]any)
		if !ok || m[key] == nil {
			t.Fatalf("no member %s of %q", key, path)
		}
		doc = m[key]
	}
	return doc.(map[string]any)
}

func TestEmbeddedSchemasAreEqual(t *testing.T) {
	body := func(name string) map[string]any {
		doc := document(t, name)
		delete(doc, "$schema")
		delete(doc, "$id")
		return doc
	}
	processed, failed := document(t, processedSchema), document(t, failedSchema)
	cloudEvent := document(t, cloudEventSchema)
	data := []string{"properties", "data", "properties"}
	inFailed := at(t, failed, append(data, "answer")...)["anyOf"].([]any)[0]
	inProcessed := at(t, processed, append(data, "answer")...)["anyOf"].([]any)[0]
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"answer in processed", inProcessed, body(answerSchema)},
		{"answer in failed", inFailed, body(answerSchema)},
		{"answer payload in processed and failed", at(t, processed, append(data, "answerPayload")...),
			any(at(t, failed, append(data, "answerPayload")...))},
		{"declaration in processed", at(t, processed, append(data, "declaration")...), body(declaredSchema)},
		{"data of the CloudEvent", at(t, cloudEvent, "properties", "data"), body(declaredSchema)},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s differs from its own schema", tt.name)
		}
	}
}

func TestSchemasUseTheNamesOfTheCode(t *testing.T) {
	data := func(name string) map[string]any { return at(t, document(t, name), "properties", "data") }
	if got := data(processedSchema)["$id"]; got != schema.DataSchemaProcessed {
		t.Errorf("data of a processed event: $id %v, want its dataschema %s", got, schema.DataSchemaProcessed)
	}
	if got := data(failedSchema)["$id"]; got != schema.DataSchemaFailed {
		t.Errorf("data of a dead letter: $id %v, want its dataschema %s", got, schema.DataSchemaFailed)
	}
}

func texts[S ~string](values []S) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

func anyTexts(values any) []string {
	var out []string
	for _, v := range values.([]any) {
		out = append(out, v.(string))
	}
	return out
}
