package answer_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"statusworker/schema"
	"statusworker/statusclient/answer"
)

func FuzzDecode(f *testing.F) {
	const identifier = "bd5c92f3-c228-44a6-91bf-b52672569878"
	for _, s := range []string{
		`{"identifier":"` + identifier + `","status":"processed","errorMessage":null}`,
		` {"status":"\u0070","identifier":"` + identifier + `","x":[{}]} `,
		`{"identifier":"` + identifier + `","status":"processed","x":NaN,"y":"\ud83d",}`,
		`{}`, `[]`, ``, `{"identifier":`, `null`,
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, content []byte, cut bool) {
		before := bytes.Clone(content)
		got, err := answer.Decode(content, cut, identifier)
		if !bytes.Equal(content, before) {
			t.Fatal("Decode changed the answer")
		}
		text := bytes.TrimSpace(schema.TrimBOM(content))
		if err != nil {
			if sound(text, identifier) {
				t.Fatalf("Decode(%q) = %v, want no error", content, err)
			}
			return
		}
		if got.Status.Check() != nil {
			t.Fatalf("invalid status %q", got.Status)
		}
		switch document, payload := got.Document(); {
		case document != nil:
			if !json.Valid(document) || !bytes.Equal(document, text) || cut || payload != nil {
				t.Fatalf("document %q of %q", document, content)
			}
		case !bytes.Equal(payload, content):
			t.Fatalf("payload %q of %q", payload, content)
		}
	})
}

// sound reports whether a text is JSON with one valid `identifier` and one valid `status`.
func sound(text []byte, identifier string) bool {
	members := map[string]json.RawMessage{}
	if !utf8.Valid(text) || json.Unmarshal(text, &members) != nil ||
		bytes.Count(text, []byte(`identifier`)) != 1 || bytes.Count(text, []byte(`status`)) != 1 {
		return false
	}
	var about, status *string
	return json.Unmarshal(members["identifier"], &about) == nil && about != nil && *about == identifier &&
		json.Unmarshal(members["status"], &status) == nil && status != nil && schema.Status(*status).Check() == nil
}
