package schema_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"statusworker/schema"
)

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		file        string
		want        schema.Declared
		declaration string
	}{
		{file: "declared.json",
			want: schema.Declared{Identifier: guid, Type: schema.Chat,
				Differs: []schema.Flag{schema.IncludeAIResults}}},
		{file: "declared-vendor.json", want: schema.Declared{Identifier: guid, Type: schema.Audio}},
		{file: "declared-uppercase.json", want: schema.Declared{Identifier: guid, Type: schema.Audio}},
		{
			file:        "declared-cloudevent.json",
			want:        schema.Declared{Identifier: guid, Type: schema.Transcript, Traceparent: traceState},
			declaration: `{"interactionIdentifier":"` + guid + `","type":"transcript","languageTag":"en-us"}`,
		},
	} {
		t.Run(tt.file, func(t *testing.T) {
			message := testdata(t, "declared/"+tt.file)
			want := tt.want
			want.Declaration = bytes.TrimSpace(message)
			for name, decode := range map[string]func() (schema.Declared, error){
				"Decode": func() (schema.Declared, error) { return schema.Decode(message) },
				"DecodeFrom": func() (schema.Declared, error) {
					return ns.DecodeFrom(ns.PollSubject(want.Type, guid), message)
				},
			} {
				got, err := decode()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if tt.declaration != "" {
					if c := compact(t, got.Declaration); c != tt.declaration {
						t.Errorf("%s: declaration %s, want %s", name, c, tt.declaration)
					}
				} else if !bytes.Equal(got.Declaration, want.Declaration) {
					t.Errorf("%s: declaration %s, want %s", name, got.Declaration, want.Declaration)
				}
				if got.Identifier != want.Identifier || got.Type != want.Type ||
					!slices.Equal(got.Differs, want.Differs) || got.Traceparent != want.Traceparent {
					t.Errorf("%s: got %+v, want %+v", name, got, want)
				}
			}
		})
	}
}

// bare is a declared message with more members after the required ones.
func bare(more string) string {
	return `{"interactionIdentifier":"` + guid + `","type":"audio"` + more + `}`
}

// enveloped is a CloudEvent with that data, and more members after it.
func enveloped(data, more string) string {
	return `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":` + data + more + `}`
}

// nested is an array in arrays, so many in all.
func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

func sized(size int) string {
	const begin, end = `,"pad":"`, `"`
	return bare(begin + strings.Repeat("x", size-len(bare(begin+end))) + end)
}

func TestDecodeAccepts(t *testing.T) {
	for _, tt := range []struct{ name, message string }{
		{"exactly 64 KiB", sized(schema.MaxDeclaredBytes)},
		{"exactly 16 levels", bare(`,"deep":` + nested(schema.MaxDepth-1))},
		{"white space around", " \r\n\t" + bare("") + "\n"},
		{"unknown members", bare(`,"types":"video","x":null,"":1,"type ":2,"data":{"type":5},"data.type":7`)},
		{"members that a bare declaration does not have, in any case",
			bare(`,"Id":1,"ID":2,"Source":3,"Data":{"Type":4},"DATA_BASE64":5,"TraceParent":6,` +
				`"externalIdentifier":"x","ExternalIdentifier":"y"`)},
		{"a required name in another case deeper down",
			bare(`,"inner":{"Type":1,"IncludeAIResults":false,"SpecVersion":"1.0"},"list":[{"Type":1}]`)},
		{"a member of a required name deeper down", bare(`,"inner":{"type":1,"interactionIdentifier":null}`)},
		{"equal names in different objects", bare(`,"a":{"x":1},"b":{"x":1}`)},
		{"escaped names and values", `{"\u0074ype":"\u0061udio","interactionIdentifier":"` + guid + `"}`},
		{"CloudEvent", enveloped(bare(""), "")},
		{"CloudEvent with data before specversion",
			`{"data":` + bare("") + `,"source":"s","id":"1","type":"t","specversion":"1.0"}`},
		{"CloudEvent whose extensions look like a declaration",
			enveloped(bare(""), `,"interactionIdentifier":5,"includeAiResults":"no","data.type":"video"`)},
		{"CloudEvent whose extensions differ in case from a declaration's members",
			enveloped(bare(`,"ID":1,"Source":2,"Data":3`),
				`,"InteractionIdentifier":5,"IncludeAIResults":false,"DataContentType":"x"`)},
		{"CloudEvent with data_base64 null, which is none", enveloped(bare(""), `,"data_base64":null`)},
		{"CloudEvent with a malformed trace context", enveloped(bare(""), `,"traceparent":"00-x\r\ny"`)},
		{"CloudEvent with a trace context that is no string", enveloped(bare(""), `,"traceparent":5`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ns.DecodeFrom(ns.DeclaredSubject(schema.Audio, guid), []byte(tt.message))
			if err != nil {
				t.Fatal(err)
			}
			if d.Identifier != guid || d.Type != schema.Audio || len(d.Differs) > 0 || d.Traceparent != "" {
				t.Errorf("got %+v", d)
			}
			checkAgreement(t, []byte(tt.message), d)
		})
	}
}

// checkAgreement checks that a message that Decode accepts is valid against the schemas.
func checkAgreement(t testing.TB, message []byte, d schema.Declared) {
	t.Helper()
	if err := validate(t, declaredSchema, d.Declaration); err != nil {
		t.Errorf("accepted, but the declaration is not valid: %v", err)
	}
	name := declaredSchema
	if !bytes.Equal(bytes.TrimSpace(message), d.Declaration) {
		name = cloudEventSchema
	}
	if err := validate(t, name, message); err != nil {
		t.Errorf("accepted, but not valid against %s: %v", name, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	type refusal struct {
		name, message string
		member        string // MemberError.Member
		kind          schema.MessageProblem
		// beyond reports that JSON Schema cannot express the rule.
		beyond bool
	}
	id := func(identifier string) string { return `{"interactionIdentifier":"` + identifier + `","type":"audio"}` }
	refusals := []refusal{
		{name: "empty", message: "", kind: schema.ProblemEmpty},
		{name: "white space", message: " \r\n", kind: schema.ProblemEmpty},
		{name: "byte order mark and nothing else", message: "\ufeff", kind: schema.ProblemEmpty},
		{name: "byte order mark behind white space", message: " \ufeff" + bare(""), kind: schema.ProblemJSON},
		{name: "two byte order marks", message: "\ufeff\ufeff" + bare(""), kind: schema.ProblemJSON},
		{name: "one byte more than 64 KiB", message: sized(schema.MaxDeclaredBytes + 1), kind: schema.ProblemSize,
			beyond: true},
		{name: "17 levels", message: bare(`,"deep":` + nested(schema.MaxDepth)),
			member: "deep" + strings.Repeat(".0", 15), kind: schema.ProblemDepth, beyond: true},
		{name: "17 levels of objects", message: strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17),
			member: "a" + strings.Repeat(".a", 15), kind: schema.ProblemDepth},
		{name: "100000 brackets cut off", message: strings.Repeat("[", 60000), member: "0" + strings.Repeat(".0", 15),
			kind: schema.ProblemDepth},
		{name: "CloudEvent, 17 levels with the envelope",
			message: enveloped(bare(`,"deep":`+nested(schema.MaxDepth-1)), ""),
			member:  "data.deep" + strings.Repeat(".0", 14), kind: schema.ProblemDepth, beyond: true},

		{name: "a name that is a number", message: bare(`,1:2`), kind: schema.ProblemJSON},
		{name: "a name that is an object", message: bare(`,{}:2`), kind: schema.ProblemJSON},
		{name: "twice", message: bare(`,"type":"audio"`), member: "type", kind: schema.ProblemDuplicate, beyond: true},
		{name: "twice, escaped", message: bare(`,"\u0074ype":"chat"`), member: "type", kind: schema.ProblemDuplicate,
			beyond: true},
		{name: "twice, unknown", message: bare(`,"x":1,"x":1`), member: "x", kind: schema.ProblemDuplicate,
			beyond: true},
		{name: "twice, nested", message: bare(`,"a":[0,{"b":{"c":1,"c":2}}]`), member: "a.1.b.c",
			kind: schema.ProblemDuplicate, beyond: true},
		{name: "twice, empty name", message: bare(`,"":1,"":2`), kind: schema.ProblemDuplicate, beyond: true},
		{name: "twice in the data of a CloudEvent", message: enveloped(bare(`,"type":"chat"`), ""), member: "data.type",
			kind: schema.ProblemDuplicate, beyond: true},
		{name: "data twice", message: enveloped(bare(""), `,"data":{}`), member: "data", kind: schema.ProblemDuplicate,
			beyond: true},

		{name: "goes on with an object", message: bare("") + "{}", kind: schema.ProblemTrailing},
		{name: "goes on with text", message: bare("") + " x", kind: schema.ProblemTrailing},
		{name: "goes on with a bracket", message: bare("") + "}", kind: schema.ProblemTrailing},
		{name: "goes on with NUL", message: bare("") + "\x00", kind: schema.ProblemTrailing},
		{name: "comma at the end", message: bare(","), kind: schema.ProblemJSON},
		{name: "cut off", message: bare("")[:40], member: "interactionIdentifier", kind: schema.ProblemJSON},
		{name: "cut off after a comma", message: `{"a":1,`, kind: schema.ProblemJSON},
		{name: "cut off in a literal", message: `{"a":tru`, member: "a", kind: schema.ProblemJSON},
		{name: "invalid UTF-8 in a value", message: bare(",\"x\":\"\xff\""), member: "x", kind: schema.ProblemJSON,
			beyond: true},
		{name: "invalid UTF-8 in a name", message: bare(",\"\xc3\x28\":1"), kind: schema.ProblemJSON, beyond: true},
		{name: "half of a surrogate pair", message: bare(`,"x":"\ud800"`), member: "x", kind: schema.ProblemJSON,
			beyond: true},
		{name: "line break in a string", message: bare(",\"x\":\"a\nb\""), member: "x", kind: schema.ProblemJSON},
		{name: "NaN", message: bare(`,"x":NaN`), member: "x", kind: schema.ProblemJSON},
		{name: "leading zero", message: bare(`,"x":01`), member: "", kind: schema.ProblemJSON},
		{name: "comment", message: "// x\n" + bare(""), kind: schema.ProblemJSON},

		{name: "an array", message: "[" + bare("") + "]", kind: schema.ProblemType},
		{name: "a string", message: `"audio"`, kind: schema.ProblemType},
		{name: "a number", message: "-1e9", kind: schema.ProblemType},
		{name: "a boolean", message: "false", kind: schema.ProblemType},
		{name: "null", message: "null", kind: schema.ProblemType},
		{name: "empty object", message: "{}", member: "interactionIdentifier", kind: schema.ProblemMissing},

		{name: "identifier missing", message: `{"type":"audio","identifier":"` + guid + `"}`,
			member: "interactionIdentifier", kind: schema.ProblemMissing},
		{name: "identifier null", message: `{"interactionIdentifier":null,"type":"audio"}`,
			member: "interactionIdentifier", kind: schema.ProblemType},
		{name: "identifier a number", message: `{"interactionIdentifier":1,"type":"audio"}`,
			member: "interactionIdentifier", kind: schema.ProblemType},
		{name: "identifier an object", message: `{"interactionIdentifier":{},"type":"audio"}`,
			member: "interactionIdentifier", kind: schema.ProblemType},
		{name: "identifier empty", message: id(""), member: "interactionIdentifier", kind: schema.ProblemValue},
		{name: "identifier a path", message: id("../../x"), member: "interactionIdentifier", kind: schema.ProblemValue},
		{name: "identifier in braces", message: id("{" + guid + "}"), member: "interactionIdentifier",
			kind: schema.ProblemValue},
		{name: "type missing", message: `{"interactionIdentifier":"` + guid + `"}`, member: "type",
			kind: schema.ProblemMissing},
		{name: "type null", message: `{"interactionIdentifier":"` + guid + `","type":null}`, member: "type",
			kind: schema.ProblemType},
		{name: "type in capitals", message: `{"interactionIdentifier":"` + guid + `","type":"Audio"}`, member: "type",
			kind: schema.ProblemValue},
		{name: "type unknown", message: `{"interactionIdentifier":"` + guid + `","type":"video\r\n"}`, member: "type",
			kind: schema.ProblemValue},
		{name: "type an array", message: `{"interactionIdentifier":"` + guid + `","type":["audio"]}`, member: "type",
			kind: schema.ProblemType},
		{name: "includeAiResults null", message: bare(`,"includeAiResults":null`), member: "includeAiResults",
			kind: schema.ProblemType},
		{name: "includeAiResults text", message: bare(`,"includeAiResults":"true"`), member: "includeAiResults",
			kind: schema.ProblemType},
		{name: "includeAiResults a number", message: bare(`,"includeAiResults":1`), member: "includeAiResults",
			kind: schema.ProblemType},

		{name: "specversion null", message: bare(`,"specversion":null`), member: "specversion",
			kind: schema.ProblemType},
		{name: "specversion empty", message: bare(`,"specversion":""`), member: "specversion",
			kind: schema.ProblemValue},
		{name: "specversion wrong", message: strings.Replace(enveloped(bare(""), ""), "1.0", "0.3", 1),
			member: "specversion", kind: schema.ProblemValue},
		{name: "specversion a number", message: strings.Replace(enveloped(bare(""), ""), `"1.0"`, "1.0", 1),
			member: "specversion", kind: schema.ProblemType},
		{name: "CloudEvent without id", message: strings.Replace(enveloped(bare(""), ""), `"id":"1",`, "", 1),
			member: "id", kind: schema.ProblemMissing},
		{name: "CloudEvent with an empty id",
			message: strings.Replace(enveloped(bare(""), ""), `"id":"1"`, `"id":""`, 1), member: "id",
			kind: schema.ProblemValue},
		{name: "CloudEvent without source", message: strings.Replace(enveloped(bare(""), ""), `"source":"/s",`, "", 1),
			member: "source", kind: schema.ProblemMissing},
		{name: "CloudEvent without type", message: strings.Replace(enveloped(bare(""), ""), `"type":"t",`, "", 1),
			member: "type", kind: schema.ProblemMissing},
		{name: "CloudEvent without data", message: `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`,
			member: "data", kind: schema.ProblemMissing},
		{name: "CloudEvent with binary data",
			message: `{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"e30="}`,
			member:  "data_base64", kind: schema.ProblemUnsupported},
		{name: "CloudEvent with both kinds of data", message: enveloped(bare(""), `,"data_base64":"e30="`),
			member: "data_base64", kind: schema.ProblemUnsupported},
		{name: "CloudEvent with data a string", message: enveloped(`"{}"`, ""), member: "data",
			kind: schema.ProblemType},
		{name: "CloudEvent with data null", message: enveloped("null", ""), member: "data", kind: schema.ProblemType},
		{name: "CloudEvent with data an array", message: enveloped("["+bare("")+"]", ""), member: "data",
			kind: schema.ProblemType},
		{name: "CloudEvent with empty data", message: enveloped("{}", ""), member: "data.interactionIdentifier",
			kind: schema.ProblemMissing},
		{name: "CloudEvent with a wrong type inside",
			message: enveloped(`{"interactionIdentifier":"`+guid+`","type":"t"}`, ""), member: "data.type",
			kind: schema.ProblemValue},
		{name: "CloudEvent with a wrong identifier inside", message: enveloped(id("*"), ""),
			member: "data.interactionIdentifier", kind: schema.ProblemValue},
		{name: "CloudEvent with a wrong includeAiResults inside", message: enveloped(bare(`,"includeAiResults":0`), ""),
			member: "data.includeAiResults", kind: schema.ProblemType},
		{name: "CloudEvent in a CloudEvent", message: enveloped(enveloped(bare(""), ""), ""),
			member: "data.specversion", kind: schema.ProblemUnsupported},
		{name: "a batch of CloudEvents", message: "[" + enveloped(bare(""), "") + "]", kind: schema.ProblemType},
	}
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			_, err := schema.Decode([]byte(tt.message))
			checkRefusal(t, err, tt.member, tt.kind)
			for _, name := range []string{declaredSchema, cloudEventSchema} {
				if !tt.beyond && validate(t, name, []byte(tt.message)) == nil {
					t.Errorf("refused, but valid against %s", name)
				}
			}
		})
	}
}

func checkRefusal(t *testing.T, err error, member string, kind schema.MessageProblem) {
	t.Helper()
	var refused *schema.MemberError
	if !errors.As(err, &refused) {
		t.Fatalf("error %v (%T), want a *MemberError", err, err)
	}
	if refused.Member != member || refused.Kind != kind || refused.Problem == "" {
		t.Errorf("%+v, want member %q and kind %q", refused, member, kind)
	}
	text := err.Error()
	if !strings.Contains(text, refused.Problem) || member != "" && !strings.Contains(text, schema.Quote(member)) {
		t.Errorf("error %q, want the problem and the member in it", err)
	}
	checkOneLine(t, text)
}

// A known member in another case is not an unknown member.
func TestDecodeRefusesAnotherCase(t *testing.T) {
	id := func(name string) string { return `{"` + name + `":"` + guid + `","type":"audio"}` }
	event := func(name, as string) string {
		return strings.Replace(enveloped(bare(""), ""), `"`+name+`"`, `"`+as+`"`, 1)
	}
	for _, tt := range []struct{ name, message, member, wanted string }{
		{"the vendor's .NET spelling", bare(`,"includeAIResults":false`), "includeAIResults", "includeAiResults"},
		{"Go's spelling", bare(`,"IncludeAIResults":false`), "IncludeAIResults", "includeAiResults"},
		{"both", bare(`,"includeAiResults":true,"includeAIResults":false`), "includeAIResults", "includeAiResults"},
		{"both, the wrong one first", bare(`,"IncludeAiResults":false,"includeAiResults":true`), "IncludeAiResults",
			"includeAiResults"},
		{"both, and equal", bare(`,"INCLUDEAIRESULTS":true,"includeAiResults":true`), "INCLUDEAIRESULTS",
			"includeAiResults"},
		{"null", bare(`,"includeairesults":null`), "includeairesults", "includeAiResults"},
		{"escaped", bare(`,"include\u0041IResults":false`), "includeAIResults", "includeAiResults"},
		{"two, the first by bytes", bare(`,"includeairesults":1,"Type":"audio"`), "Type", "type"},
		{"the type", bare(`,"TYPE":"chat"`), "TYPE", "type"},
		{"the type alone", `{"interactionIdentifier":"` + guid + `","Type":"audio"}`, "Type", "type"},
		{"the identifier", id("InteractionIdentifier"), "InteractionIdentifier", "interactionIdentifier"},
		{"the identifier, one letter", id("interactionidentifier"), "interactionidentifier", "interactionIdentifier"},
		{"a byte order mark before it", "\ufeff" + bare(`,"includeAIResults":false`), "includeAIResults",
			"includeAiResults"},
		{"data that may be a CloudEvent", bare(`,"SpecVersion":"1.0"`), "SpecVersion", "specversion"},

		{"CloudEvent, specversion alone", event("specversion", "specVersion"), "specVersion", "specversion"},
		{"CloudEvent, specversion twice", enveloped(bare(""), `,"SPECVERSION":"1.0"`), "SPECVERSION", "specversion"},
		{"CloudEvent, id", event("id", "ID"), "ID", "id"},
		{"CloudEvent, id twice", enveloped(bare(""), `,"Id":"2"`), "Id", "id"},
		{"CloudEvent, source", event("source", "Source"), "Source", "source"},
		{"CloudEvent, type", event("type", "Type"), "Type", "type"},
		{"CloudEvent, data", event("data", "Data"), "Data", "data"},
		{"CloudEvent, data twice", enveloped(bare(""), `,"DATA":null`), "DATA", "data"},
		{"CloudEvent, data_base64", enveloped(bare(""), `,"data_Base64":"e30="`), "data_Base64", "data_base64"},
		{"in the data of a CloudEvent", enveloped(bare(`,"includeAIResults":false`), ""), "data.includeAIResults",
			"data.includeAiResults"},
		{"in the data, the type", enveloped(bare(`,"Type":"chat"`), ""), "data.Type", "data.type"},
		{"in the data, the identifier", enveloped(id("interactionIDentifier"), ""), "data.interactionIDentifier",
			"data.interactionIdentifier"},
		{"in the data, specversion", enveloped(bare(`,"SpecVersion":"1.0"`), ""), "data.SpecVersion",
			"data.specversion"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := schema.Decode([]byte(tt.message))
			checkRefusal(t, err, tt.member, schema.ProblemCase)
			if !strings.Contains(err.Error(), schema.Quote(tt.wanted)) {
				t.Errorf("error %v, want %s in it", err, tt.wanted)
			}
		})
	}
}

func TestDecodeIgnoresAByteOrderMark(t *testing.T) {
	const mark = "\ufeff"
	for _, tt := range []struct{ name, message, declaration string }{
		{"bare", bare(`,"x":"\ufeff"`), bare(`,"x":"\ufeff"`)},
		{"white space behind it", " \r\n" + bare(""), bare("")},
		{"exactly 64 KiB behind it", sized(schema.MaxDeclaredBytes), sized(schema.MaxDeclaredBytes)},
		{"CloudEvent", enveloped(bare(`,"includeAiResults":true`), ""), bare(`,"includeAiResults":true`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ns.DecodeFrom(ns.DeclaredSubject(schema.Audio, guid), []byte(mark+tt.message))
			if err != nil {
				t.Fatal(err)
			}
			if d.Identifier != guid || d.Type != schema.Audio || string(d.Declaration) != tt.declaration {
				t.Errorf("got %.200q as %s %s, want %.200q", d.Declaration, d.Type, d.Identifier, tt.declaration)
			}
			checkAgreement(t, []byte(tt.message), d)
		})
	}
}

func TestDecodeNamesAForeignEncoding(t *testing.T) {
	encode := func(text string, bytesOf func([]byte, rune) []byte) string {
		var b []byte
		for _, r := range text {
			b = bytesOf(b, r)
		}
		return string(b)
	}
	utf16le := func(b []byte, r rune) []byte { return binary.LittleEndian.AppendUint16(b, uint16(r)) }
	utf16be := func(b []byte, r rune) []byte { return binary.BigEndian.AppendUint16(b, uint16(r)) }
	utf32le := func(b []byte, r rune) []byte { return binary.LittleEndian.AppendUint32(b, uint32(r)) }
	utf32be := func(b []byte, r rune) []byte { return binary.BigEndian.AppendUint32(b, uint32(r)) }
	for _, tt := range []struct {
		name, want string
		encode     func([]byte, rune) []byte
	}{
		{"UTF-16LE", "UTF-16",
			utf16le}, {"UTF-16BE", "UTF-16", utf16be}, {"UTF-32LE", "UTF-32", utf32le}, {"UTF-32BE", "UTF-32", utf32be},
	} {
		for _, text := range []string{
			bare(""), "\ufeff" + bare(""), "\r\n" + bare(""), "[]", "\ufeff", sized(schema.MaxDeclaredBytes),
		} {
			_, err := schema.Decode([]byte(encode(text, tt.encode)))
			checkRefusal(t, err, "", schema.ProblemEncoding)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s in it", err, tt.want)
			}
		}
	}
	for _, text := range []string{
		"", "{", "{}", "\n", "\x00", "\x00\x00", "\x00\x01", "a\x00", "\xff", "\xef\xbb\xbf{}", "0\x00",
	} {
		if got := schema.ForeignEncoding([]byte(text)); got != "" {
			t.Errorf("ForeignEncoding(%q) = %s, want none", text, got)
		}
	}
}

// checkOneLine checks that an error is one printable line of limited length.
func checkOneLine(t testing.TB, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 ||
		!utf8.ValidString(text) {
		t.Errorf("text %q is not printable at byte %d", text, i)
	}
	if len(text) >= 1000 {
		t.Errorf("text is %d bytes long, want less than 1000", len(text))
	}
}

func TestDecodeFromRefuses(t *testing.T) {
	subject := ns.DeclaredSubject(schema.Audio, guid)
	const other = "00000000-0000-0000-0000-000000000000"
	for _, tt := range []struct{ name, subject, message, member string }{
		{"another type", ns.DeclaredSubject(schema.Chat, guid), bare(""), "type"},
		{"another type in a CloudEvent", ns.DeclaredSubject(schema.Chat, guid), enveloped(bare(""), ""),
			"data.type"},
		{"an unknown type", ns.DeclaredSubject("video", guid), bare(""), "type"},
		{"another identifier", ns.DeclaredSubject(schema.Audio, other), bare(""), "interactionIdentifier"},
		{"another identifier in a CloudEvent", ns.DeclaredSubject(schema.Audio, other), enveloped(bare(""), ""),
			"data.interactionIdentifier"},
		{"a subject in upper case", strings.ToUpper(guid), bare(""), ""},
		{"an identifier in upper case", ns.DeclaredSubject(schema.Audio, strings.ToUpper(guid)), bare(""),
			"interactionIdentifier"},
		{"a wildcard", ns.DeclaredSubject(schema.Audio, "*"), bare(""), "interactionIdentifier"},
		{"a line break", ns.DeclaredSubject(schema.Audio, "A\r\n"), bare(""), "interactionIdentifier"},
		{"three tokens", "interactions.declared.audio", bare(""), ""},
		{"five tokens", subject + ".x", bare(""), ""},
		{"no subject", "", bare(""), ""},
		{"not JSON", subject, "{", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ns.DecodeFrom(tt.subject, []byte(tt.message))
			kind := schema.ProblemSubject
			if tt.message == "{" {
				kind = schema.ProblemJSON
			}
			checkRefusal(t, err, tt.member, kind)
		})
	}
}

func TestCheckJSON(t *testing.T) {
	for _, message := range []string{"null", "0", `"x"`, "[1,{}]", "{}", " [] ", nested(schema.MaxDepth)} {
		if err := schema.CheckJSON([]byte(message)); err != nil {
			t.Errorf("%s: %v", message, err)
		}
	}
	for _, tt := range []struct {
		message, member string
		kind            schema.MessageProblem
	}{
		{"", "", schema.ProblemEmpty},
		{"\ufeff{}", "", schema.ProblemJSON},
		{nested(schema.MaxDepth + 1), "0" + strings.Repeat(".0", 15), schema.ProblemDepth},
		{`[{"a":1,"a":2}]`, "0.a", schema.ProblemDuplicate},
		{`{"a":{"` + strings.Repeat("n", 60000) + `":x}}`, "a." + strings.Repeat("n", 60000), schema.ProblemJSON},
		{"1 2", "", schema.ProblemTrailing},
		{strings.Repeat(" ", schema.MaxDeclaredBytes+1), "", schema.ProblemSize},
	} {
		checkRefusal(t, schema.CheckJSON([]byte(tt.message)), tt.member, tt.kind)
	}
}
