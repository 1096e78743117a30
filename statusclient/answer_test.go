package statusclient

import (
	"bytes"
	"encoding/json"
	"testing"
)

func FuzzDecodeAnswer(f *testing.F) {
	const identifier = "bd5c92f3-c228-44a6-91bf-b52672569878"
	for _, s := range []string{
		`{"identifier":"` + identifier + `","status":"processed","errorMessage":null}`,
		` {"status":"\u0070","identifier":"` + identifier + `","x":[{}]} `,
		`{}`, `[]`, ``, `{"identifier":`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		b := bodies.Get().(*body)
		defer b.release()
		b.buf = append(b.buf[:0], content...)
		answer, err := decodeAnswer(b.decoder(), b.buf, identifier)
		if err != nil {
			return
		}
		var object struct{ Identifier, Status string }
		if err := json.Unmarshal(answer.Raw, &object); err != nil || !bytes.Equal(answer.Raw, bytes.TrimSpace(content)) {
			t.Fatalf("raw is %q: %v", answer.Raw, err)
		}
		if answer.Status == "" || len(answer.Status) > maxStatusLength {
			t.Fatalf("status is %q", answer.Status)
		}
	})
}
