package schema_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"statusworker/schema"
)

func TestCheckIdentifier(t *testing.T) {
	for _, s := range []string{guid, "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"} {
		if err := schema.CheckIdentifier(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	with := func(i int, s string) string { return guid[:i] + s + guid[i+len(s):] }
	for _, tt := range []struct{ name, identifier string }{
		{"empty", ""},
		{"path", "../../x"},
		{"path of 36 bytes", "../../interactions/x/../../../../abc"},
		{"wildcard", "*"},
		{"wildcard of the rest", ">"},
		{"wildcard inside", with(3, "*")},
		{"dot", with(8, ".")},
		{"dots of 36 bytes", strings.Repeat(".", 36)},
		{"NUL", with(0, "\x00")},
		{"CR LF", with(10, "\r\n")},
		{"line break behind", guid + "\n"},
		{"10 kB", strings.Repeat("a", 10_000)},
		{"non-ASCII", with(4, "é")},
		{"digits of another script", with(4, "٣")},
		{"full-width letter", with(4, "ａ")},
		{"invalid UTF-8", with(4, "\xff")},
		{"space", with(35, " ")},
		{"slash", with(24, "/")},
		{"percent", with(24, "%2f")},
		{"not hexadecimal", with(0, "g")},
		{"no hyphens", strings.ReplaceAll(guid, "-", "") + "0000"},
		{"upper case", strings.ToUpper(guid)},
		{"upper case and worse", "A" + with(1, "\n")[1:]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := schema.CheckIdentifier(tt.identifier)
			if err == nil || !strings.HasPrefix(err.Error(), schema.Quote(tt.identifier)) {
				t.Fatalf("error %v, want one that begins with the identifier", err)
			}
			checkOneLine(t, err.Error())
		})
	}
}

func TestSubjects(t *testing.T) {
	for _, tt := range []struct{ got, want, pattern string }{
		{ns.DeclaredSubject(schema.Audio, guid), "interactions.declared.audio." + guid, ns.SubjectsDeclared()},
		{ns.HoldSubject(schema.Chat, guid), "interactions.hold.chat." + guid, ns.SubjectsHold()},
		{ns.HoldSubjects(guid), "interactions.hold.*." + guid, ns.SubjectsHold()},
		{ns.PollSubject(schema.Transcript, guid), "interactions.poll.transcript." + guid, ns.SubjectsPoll()},
		{ns.ProcessedSubject(schema.ToCXAI, guid), "interactions.processed.cxai." + guid, ns.SubjectsProcessed()},
		{ns.FailedSubject(schema.NotFound, guid), "interactions.failed.not_found." + guid, ns.SubjectsFailed()},
	} {
		if tt.got != tt.want {
			t.Errorf("subject %s, want %s", tt.got, tt.want)
		}
		if !strings.HasPrefix(tt.got, strings.TrimSuffix(tt.pattern, "*.*")) {
			t.Errorf("subject %s does not match %s", tt.got, tt.pattern)
		}
	}
	if got, want := ns.OutcomeSubjects(guid), "interactions.*.*."+guid; got != want {
		t.Errorf("OutcomeSubjects = %s, want %s", got, want)
	}
	if got := ns.PollConsumer(schema.Audio); got != "poll-audio" {
		t.Errorf("PollConsumer = %s", got)
	}
}

func TestSubjectPattern(t *testing.T) {
	for stream, want := range map[string]string{
		ns.StreamDeclared(): "interactions.declared.chat.*",
		ns.StreamPolls():    "interactions.poll.chat.*",
		ns.StreamOutcomes(): "",
	} {
		got, err := ns.SubjectPattern(stream, schema.Chat)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q, or an error if that is empty", stream, got, err, want)
		}
	}
}

func TestSplitSubject(t *testing.T) {
	for _, tt := range []struct {
		subject, kind, identifier string
		ok                        bool
	}{
		{"interactions.declared.audio." + guid, "audio", guid, true},
		{"interactions.failed.not_found.seq-7", "not_found", "seq-7", true},
		{"interactions.anything.*.>", "*", ">", true},
		{subject: ""},
		{subject: "interactions"},
		{subject: "interactions."},
		{subject: "interactions.declared"},
		{subject: "interactions.declared.audio"},
		{subject: "interactions.declared.audio."},
		{subject: "interactions.declared..x"},
		{subject: "interactions..audio.x"},
		{subject: "interactions.declared.audio.x."},
		{subject: "interactions.declared.audio.x.y"},
		{subject: "interactionsdeclared.audio.x.y"},
		{subject: "other.declared.audio.x"},
		{subject: "Interactions.declared.audio.x"},
	} {
		kind, identifier, ok := ns.SplitSubject(tt.subject)
		if kind != tt.kind || identifier != tt.identifier || ok != tt.ok {
			t.Errorf("SplitSubject(%q) = %q, %q, %t, want %q, %q, %t",
				tt.subject, kind, identifier, ok, tt.kind, tt.identifier, tt.ok)
		}
	}
}

func TestDeadLetterToken(t *testing.T) {
	for _, tt := range []struct{ token, want string }{
		{guid, guid},
		{strings.ToUpper(guid), strings.ToUpper(guid)},
		{"plain_token-7", "plain_token-7"},
		{strings.Repeat("a", 64), strings.Repeat("a", 64)},
		{strings.Repeat("a", 65), "seq-42"},
		{"*", "seq-42"},
		{">", "seq-42"},
		{"", "seq-42"},
		{"a.b", "seq-42"},
		{"a b", "seq-42"},
		{"a\n", "seq-42"},
		{"\x00", "seq-42"},
		{"é", "seq-42"},
		{"a/b", "seq-42"},
		{"$JS", "seq-42"},
	} {
		if got := ns.DeadLetterToken("interactions.declared.audio."+tt.token, 42); got != tt.want {
			t.Errorf("DeadLetterToken(%q) = %q, want %q", tt.token, got, tt.want)
		}
	}
	if got := ns.DeadLetterToken("elsewhere", 42); got != "seq-42" {
		t.Errorf("DeadLetterToken(elsewhere) = %q, want seq-42", got)
	}
}

func TestQuote(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, tt := range []struct{ value, want string }{
		{"", `""`},
		{"audio", `"audio"`},
		{"über", `"über"`},
		{`a"b\`, "`a\"b\\`"},
		{`{"errorMessage":"C:\\a \"b\" é"}`, "`" + `{"errorMessage":"C:\\a \"b\" é"}` + "`"},
		{"a`b\"", "\"a`b\\\"\""},
		{"a`b", "\"a`b\""},
		{"a\r\nb\x00\x1b[31m\x7f", `"a\r\nb\x00\x1b[31m\x7f"`},
		{"ü\u2028\xff", `"\u00fc\u2028\xff"`},
		{"\u202eevil\u2066", `"\u202eevil\u2066"`}, // bidirectional controls
		{"a\u200bb\u00a0c", `"a\u200bb\u00a0c"`},   // spaces that look like none, or like another
		{long, `"` + long + `"`},
		{long + "y", `"` + long + `"... (65 bytes)`},
		{long + `"`, `"` + long + `"... (65 bytes)`},
		{long[1:] + "é", `"` + long[1:] + `"... (65 bytes)`}, // no half character
		{strings.Repeat("\xbf", 70), `"` + strings.Repeat(`\xbf`, 60) + `"... (70 bytes)`},
	} {
		got := schema.Quote(tt.value)
		if got != tt.want {
			t.Errorf("Quote(%q) = %s, want %s", tt.value, got, tt.want)
		}
		checkOneLine(t, got)
	}
}

func TestListsAndTheirMembers(t *testing.T) {
	for _, v := range schema.Types() {
		if !v.Valid() {
			t.Errorf("type %s is in Types, but not valid", v)
		}
	}
	if schema.Type("").Valid() || schema.Type("Audio").Valid() {
		t.Error("a type that is not in Types is valid")
	}
	for name, list := range map[string][]string{
		"Types": texts(schema.Types()), "Destinations": texts(schema.Destinations()),
		"Reasons":  texts(schema.Reasons()),
		"Statuses": texts(schema.Statuses()), "Faults": texts(schema.Faults()), "Flags": texts(schema.Flags()),
		"Meanings": texts(schema.Meanings()), "Streams": ns.Streams(),
	} {
		slices.Sort(list)
		if len(list) == 0 || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%s is empty or has duplicates: %q", name, list)
		}
	}
}

func TestStatusCheck(t *testing.T) {
	longest := schema.Status(strings.Repeat("x", schema.MaxStatusBytes))
	for _, s := range []schema.Status{"processed", "reticulating splines", "é", longest} {
		if err := s.Check(); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, tt := range []struct {
		status  schema.Status
		problem schema.StatusProblem
	}{
		{"", schema.StatusEmpty},
		{longest + "x", schema.StatusTooLong},
		{"a\nb", schema.StatusNotPrintable},
		{"a\x1b[2J", schema.StatusNotPrintable},
		{"\u2028", schema.StatusNotPrintable},
		{"a\u00a0b", schema.StatusNotPrintable},
		{"a\xff", schema.StatusNotPrintable},
		{"a\uFFFD", schema.StatusNotPrintable},
	} {
		var bad *schema.StatusError
		if err := tt.status.Check(); !errors.As(err, &bad) || bad.Problem != tt.problem || bad.Status != tt.status {
			t.Errorf("%q: %v, want a StatusError with problem %q", tt.status, err, tt.problem)
		} else {
			checkOneLine(t, err.Error())
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"as it is, é 日本", "as it is, é 日本"},
		{"a\r\nb\tc", "a  b c"},
		{"a\u2028b\u0085c\u00a0d", "a b c d"},
		{"\x1b[31m\x00\x7f\u009b\u202e\ufeff", "\uFFFD[31m\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"},
		{"\xff", "\uFFFD"},
	} {
		if got := schema.Printable(tt.text); got != tt.want {
			t.Errorf("Printable(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
