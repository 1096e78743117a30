package fuzz

import (
	"strings"
	"testing"

	"statusworker/schema"
)

func FuzzSubject(f *testing.F) {
	for _, s := range []string{
		"", "interactions.declared.audio." + guid, "interactions.declared.audio.*", "interactions...",
		"interactions.declared.audio.A\n",
		strings.ToUpper(guid), guid,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		kind, identifier, ok := ns.SplitSubject(subject)
		tokens := strings.Split(subject, ".")
		want := len(tokens) == 4 && tokens[0] == "interactions" && tokens[1] != "" && tokens[2] != "" && tokens[3] != ""
		if ok != want || ok && (kind != tokens[2] || identifier != tokens[3]) {
			t.Errorf("SplitSubject(%q) = %q, %q, %t", subject, kind, identifier, ok)
		}
		if token := ns.DeadLetterToken(subject, 42); token == "" || strings.ContainsAny(token, ".*> \t\r\n\x00") {
			t.Errorf("DeadLetterToken(%q) = %q, which is not a token of a subject", subject, token)
		}
		if err := schema.CheckIdentifier(subject); err != nil {
			checkOneLine(t, err.Error())
		} else if strings.Trim(subject, "0123456789abcdef-") != "" {
			t.Errorf("CheckIdentifier accepts %q", subject)
		}
		if _, err := ns.DecodeFrom(subject, []byte(bare(""))); err != nil {
			checkFuzzedRefusal(t, err)
		} else if kind != "audio" || identifier != guid {
			t.Errorf("DecodeFrom accepts %q as the subject of %s", subject, guid)
		}
	})
}
