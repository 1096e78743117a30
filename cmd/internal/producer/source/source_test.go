package source

import (
	"fmt"
	"strings"
	"testing"

	"statusworker/schema"
)

func TestLines(t *testing.T) {
	t.Parallel()
	full := strings.Repeat("x", schema.MaxDeclaredBytes)
	for _, test := range []struct {
		name, text string
		want       []string // `!` marks a rejection
	}{
		{"none", "", nil},
		{"empty ones", "\n\r\n  \n", nil},
		{"no end", "a\nb", []string{"1 a", "2 b"}},
		{"ends", "a\r\n\nb\n", []string{"1 a", "3 b"}},
		{"as long as may be", full + "\r\n" + full + "\n" + full, []string{"1 " + full, "2 " + full, "3 " + full}},
		{"one too long", full + "x\n" + full + "xx\r\nb\n" + full + full + full + "\nc",
			[]string{"1 !", "2 !", "3 b", "4 !", "5 c"}},
		{"too long at the end", "a\n" + full + full, []string{"1 a", "2 !"}},
		{"byte order mark", "\ufeffa\nb", []string{"1 a", "2 b"}},
		{"byte order mark and white space", "\ufeff \t\r\n\ufeff a\n", []string{"2 a"}},
		{"byte order marks of files put together", "\ufeffa\r\n\ufeffb\n", []string{"1 a", "2 b"}},
		{"byte order mark alone", "\ufeff", nil},
		{"byte order mark before as long as may be", "\ufeff" + full + "\r\n\ufeff" + full,
			[]string{"1 " + full, "2 " + full}},
		{"byte order mark before one too long", "\ufeff" + full + "x\nb", []string{"1 !", "2 b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := make(chan Candidate, 100)
			if err := (lines{strings.NewReader(test.text)}).Send(t.Context(), out); err != nil {
				t.Fatal(err)
			}
			close(out)
			var got []string
			for c := range out {
				s := strings.TrimPrefix(c.Where, "line ") + " " + string(c.Message)
				if c.Problem != nil {
					s += "!"
				}
				got = append(got, s)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %.300q, want %.300q", got, test.want)
			}
		})
	}
}

func FuzzArgumentsDecode(f *testing.F) {
	f.Add(NoInteraction, `"x":1`)
	f.Add("*.>", "")
	f.Add("a\"b", `"type":"chat"`)
	f.Fuzz(func(t *testing.T, id, more string) {
		m := Arguments{Type: "audio", more: []byte(more)}.message(id)
		d, err := schema.Decode(m)
		if err != nil {
			return
		}
		if d.Identifier != strings.ToLower(id) || d.Type != schema.Audio {
			t.Errorf("%q with %q became %+v", id, more, d)
		}
	})
}

// Members that cannot be added to each message are rejected.
func TestArgumentsRejectMembers(t *testing.T) {
	no := false
	for name, tt := range map[string]struct {
		object string
		ai     *bool
		good   bool
	}{
		"members":          {"\ufeff{\"externalIdentifier\":\"x\"}\n", nil, true},
		"no object":        {"[]", nil, false},
		"no JSON":          {"{", nil, false},
		"nothing":          {"", nil, false},
		"an identifier":    {`{"interactionIdentifier":"x"}`, nil, false},
		"a type":           {`{"type":"audio"}`, nil, false},
		"results, once":    {`{"includeAiResults":true}`, nil, true},
		"results, twice":   {`{"includeAiResults":true}`, &no, false},
		"a wrong member":   {`{"includeAiResults":"yes"}`, nil, false},
		"larger than room": {`{"x":"` + strings.Repeat("x", schema.MaxDeclaredBytes) + `"}`, nil, false},
	} {
		a := Arguments{Type: "audio", IncludeAIResults: tt.ai}
		if err := a.Add([]byte(tt.object)); (err == nil) != tt.good {
			t.Errorf("%s: error %v, want one: %t", name, err, !tt.good)
		}
	}
}
