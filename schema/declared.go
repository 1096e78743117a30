package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDeclaredBytes is the largest declared message that is taken in. A reservation carries the message again at every
// poll, so its size is paid for hundreds of times.
const MaxDeclaredBytes = 64 << 10

// MaxDepth is how deep objects and arrays may be nested in a declared message.
const MaxDepth = 16

// Declared is a declared message: what upstream says about an interaction that the vendor is processing.
type Declared struct {
	// Identifier is the vendor's interactionIdentifier, in lower case.
	Identifier string
	Type       Type
	// IncludeAIResults says whether CX AI results were asked for; true where the message does not say.
	IncludeAIResults bool
	// Declaration is the message as it came: the bare JSON, or the `data` of a CloudEvent.
	Declaration json.RawMessage
	// Traceparent is the W3C trace context that a CloudEvent carries as an extension attribute, or empty.
	Traceparent string
}

// MemberError says which member of a message is wrong, and how.
type MemberError struct {
	// Member is a path of member names such as `data.type`; empty where the message as a whole is wrong.
	Member string
	// Problem says what was found and what is wanted, in one line.
	Problem string
}

func (e *MemberError) Error() string {
	if e.Member == "" {
		return "declared message: " + e.Problem
	}
	return "declared message: member " + Quote(e.Member) + ": " + e.Problem
}

func wrong(member, format string, args ...any) *MemberError {
	return &MemberError{Member: member, Problem: fmt.Sprintf(format, args...)}
}

// Decode reads a declared message: bare JSON, or a structured CloudEvent (an object with a member `specversion`) whose
// `data` it is. It refuses with a [*MemberError]: anything that is not one JSON object, is larger than
// [MaxDeclaredBytes] or nested deeper than [MaxDepth], has a member twice, goes on after its end, or has a member that
// is missing, of the wrong type, or out of range. Members that it does not know are kept.
func Decode(message []byte) (Declared, error) {
	if err := CheckJSON(message); err != nil {
		return Declared{}, err
	}
	outer, err := members(message, "")
	if err != nil {
		return Declared{}, err
	}
	if _, ok := outer["specversion"]; !ok {
		return decodeBare(message, outer, "")
	}
	if err := checkEnvelope(outer); err != nil {
		return Declared{}, err
	}
	data := outer["data"]
	inner, err := members(data, "data")
	if err != nil {
		return Declared{}, err
	}
	d, err := decodeBare(data, inner, "data.")
	if err != nil {
		return Declared{}, err
	}
	if _, ok := outer["traceparent"]; ok {
		d.Traceparent, err = text(outer, "", "traceparent", "a W3C trace context")
	}
	return d, err
}

// CheckJSON refuses with a [*MemberError] whatever is not exactly one JSON value of at most [MaxDeclaredBytes] and
// [MaxDepth], without duplicate members.
func CheckJSON(message []byte) error {
	if len(message) == 0 {
		return wrong("", "it is empty, want a JSON object")
	}
	if len(message) > MaxDeclaredBytes {
		return wrong("", "it is %d bytes long, at most %d are taken in: leave out what the pipeline does not need", len(message), MaxDeclaredBytes)
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(message))
	for values := 0; ; {
		tok, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF) && values == 1:
			return nil
		case err != nil:
			return syntaxProblem(err)
		case values == 1:
			return wrong("", "it goes on after its end, at byte %d", dec.InputOffset())
		}
		if dec.StackDepth() > MaxDepth {
			return wrong(memberPath(dec.StackPointer()), "it is nested deeper than %d levels", MaxDepth)
		}
		if k := tok.Kind(); dec.StackDepth() == 0 && k != '{' && k != '[' {
			values++
		}
	}
}

func syntaxProblem(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return wrong("", "it is not JSON: %v", err)
	}
	member := memberPath(syntax.JSONPointer)
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return wrong(member, "it is there twice")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return wrong(member, "it is not JSON: it ends in the middle, at byte %d", syntax.ByteOffset)
	}
	return wrong(member, "it is not JSON: %v, at byte %d", syntax.Err, syntax.ByteOffset)
}

func memberPath(p jsontext.Pointer) string {
	var names []string
	for name := range p.Tokens() {
		names = append(names, name)
	}
	return strings.Join(names, ".")
}

func members(object json.RawMessage, at string) (map[string]json.RawMessage, error) {
	if len(object) == 0 {
		return nil, wrong(at, "it is missing")
	}
	if k := kind(object); k != "an object" {
		return nil, wrong(at, "it is %s, want an object", k)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(object, &m); err != nil {
		return nil, wrong(at, "it is not JSON: %v", err)
	}
	return m, nil
}

func kind(value json.RawMessage) string {
	switch jsontext.Value(value).Kind() {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "not JSON"
}

func text(m map[string]json.RawMessage, prefix, name, want string) (string, error) {
	value, ok := m[name]
	if !ok {
		return "", wrong(prefix+name, "it is missing, want %s", want)
	}
	if k := kind(value); k != "a string" {
		return "", wrong(prefix+name, "it is %s, want %s", k, want)
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", wrong(prefix+name, "it is not JSON: %v", err)
	}
	return s, nil
}

// checkEnvelope checks what CloudEvents 1.0 requires of a structured event.
func checkEnvelope(m map[string]json.RawMessage) error {
	for _, name := range []string{"specversion", "id", "source", "type"} {
		s, err := text(m, "", name, "a string that is not empty, as CloudEvents 1.0 requires")
		if err != nil {
			return err
		}
		if s == "" {
			return wrong(name, "it is empty, CloudEvents 1.0 requires it")
		}
		if name == "specversion" && s != "1.0" {
			return wrong(name, "it is %s, want \"1.0\"", Quote(s))
		}
	}
	if _, ok := m["data"]; !ok {
		if _, ok := m["data_base64"]; ok {
			return wrong("data_base64", "binary data is not taken in: put the declared message into `data` as JSON")
		}
	}
	return nil
}

func decodeBare(message json.RawMessage, m map[string]json.RawMessage, prefix string) (Declared, error) {
	d := Declared{IncludeAIResults: true, Declaration: message}

	id, err := text(m, prefix, "interactionIdentifier", "a GUID")
	if err != nil {
		return Declared{}, err
	}
	d.Identifier = strings.ToLower(id)
	if len(id) != 36 {
		d.Identifier = id // CheckIdentifier refuses it; show it as it came
	}
	if err := CheckIdentifier(d.Identifier); err != nil {
		return Declared{}, wrong(prefix+"interactionIdentifier", "%v", err)
	}

	const types = `"audio", "chat" or "transcript"`
	t, err := text(m, prefix, "type", types)
	if err != nil {
		return Declared{}, err
	}
	d.Type = Type(t)
	if !d.Type.Valid() {
		return Declared{}, wrong(prefix+"type", "it is %s, want %s", Quote(t), types)
	}

	if value, ok := m["includeAiResults"]; ok {
		if k := kind(value); k != "a boolean" {
			return Declared{}, wrong(prefix+"includeAiResults", "it is %s, want true or false", k)
		}
		d.IncludeAIResults = string(value) == "true"
	}
	return d, nil
}

// DecodeFrom reads a declared message that came on a subject, and refuses with a [*MemberError] one whose type or
// identifier is not the subject's.
func DecodeFrom(subject string, message []byte) (Declared, error) {
	kind, identifier, ok := SplitSubject(subject)
	if !ok {
		return Declared{}, wrong("", "its subject %s is not interactions.declared.<type>.<identifier>", Quote(subject))
	}
	d, err := Decode(message)
	if err != nil {
		return Declared{}, err
	}
	if string(d.Type) != kind {
		return Declared{}, wrong("type", "it is %s, but the subject says %s", Quote(string(d.Type)), Quote(kind))
	}
	if d.Identifier != identifier {
		if err := CheckIdentifier(identifier); err != nil {
			return Declared{}, wrong("interactionIdentifier", "the subject's identifier is none: %v", err)
		}
		return Declared{}, wrong("interactionIdentifier", "it is %s, but the subject says %s", Quote(d.Identifier), Quote(identifier))
	}
	return d, nil
}
