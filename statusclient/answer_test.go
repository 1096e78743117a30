package statusclient

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"statusworker/schema"
)

func FuzzDecodeAnswer(f *testing.F) {
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
		answer, err := decodeAnswer(content, cut, identifier)
		if !bytes.Equal(content, before) {
			t.Fatal("the answer was changed")
		}
		// What is JSON with one `identifier` and one `status` that fit is a status.
		var object struct{ Identifier, Status *string }
		members := map[string]json.RawMessage{}
		text := bytes.TrimSpace(schema.TrimBOM(content))
		sound := json.Unmarshal(text, &members) == nil && json.Unmarshal(members["identifier"], &object.Identifier) == nil &&
			json.Unmarshal(members["status"], &object.Status) == nil && utf8.Valid(text) && bytes.Count(text, []byte(`identifier`)) == 1 && bytes.Count(text, []byte(`status`)) == 1 &&
			object.Identifier != nil && object.Status != nil && *object.Identifier == identifier &&
			schema.Status(*object.Status).Check() == nil
		if err != nil {
			if sound {
				t.Fatalf("%q is refused: %v", content, err)
			}
			return
		}
		if answer.Status.Check() != nil {
			t.Fatalf("status is %q", answer.Status)
		}
		switch {
		case answer.Raw != nil:
			if !json.Valid(answer.Raw) || !bytes.Equal(answer.Raw, text) || cut || answer.Payload != nil {
				t.Fatalf("raw is %q of %q", answer.Raw, content)
			}
		case !bytes.Equal(answer.Payload, content):
			t.Fatalf("payload is %q of %q", answer.Payload, content)
		}
	})
}
