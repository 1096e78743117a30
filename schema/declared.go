package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MaxDeclaredBytes is the largest declared message that is taken in. A reservation carries the message again at every
// poll, so its size is paid for hundreds of times.
const MaxDeclaredBytes = 64 << 10

// MaxMessageBytes is the size up to which the stage stores messages: an outcome carries the declared message and the
// vendor's answer.
const MaxMessageBytes = 256 << 10

// MaxDepth is how deep objects and arrays may be nested in a declared message.
const MaxDepth = 16

// Declared is a declared message: what upstream says about an interaction that the vendor is processing.
type Declared struct {
	// Identifier is the vendor's interactionIdentifier, in lower case.
	Identifier string
	Type       Type
	// Differs are the flags that do not have their default.
	Differs []Flag
	// Declaration is the message as it came: the bare JSON, or the `data` of a CloudEvent.
	Declaration json.RawMessage
	// Traceparent is the W3C trace context that a CloudEvent carries as an extension attribute, in any case, or empty.
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
// `data` it is. It passes over a byte order mark of UTF-8. It refuses with a [*MemberError]: anything that is not one
// JSON object, is larger than [MaxDeclaredBytes] or nested deeper than [MaxDepth], has a member twice, goes on after
// its end, or has a member that is missing, of the wrong type, out of range, or differs in case only from one that it
// looks at. Members that it does not know are kept. The declaration shares the memory of message.
func Decode(message []byte) (Declared, error) {
	d, _, err := decode(message)
	return d, err
}

// DecodeFrom reads a declared message that came on a subject, and refuses with a [*MemberError] one whose type or
// identifier is not the subject's.
func DecodeFrom(subject string, message []byte) (Declared, error) {
	return DefaultNamespace.DecodeFrom(subject, message)
}

// DecodeFrom is the function of that name for the subjects of n.
func (n Namespace) DecodeFrom(subject string, message []byte) (Declared, error) {
	kind, identifier, ok := n.SplitSubject(subject)
	if !ok {
		return Declared{}, wrong(
			"",
			"its subject %s is not %s",
			Quote(subject),
			n.DeclaredSubject("<type>", "<identifier>"),
		)
	}
	d, at, err := decode(message)
	if err != nil {
		return Declared{}, err
	}
	if string(d.Type) != kind {
		return Declared{}, wrong(at+"type", "it is %s, but the subject says %s", Quote(string(d.Type)), Quote(kind))
	}
	if d.Identifier != identifier {
		if err := CheckIdentifier(identifier); err != nil {
			return Declared{}, wrong(at+"interactionIdentifier", "the subject's identifier is none: %v", err)
		}
		return Declared{}, wrong(
			at+"interactionIdentifier",
			"it is %s, but the subject says %s",
			Quote(d.Identifier),
			Quote(identifier),
		)
	}
	return d, nil
}

// decode gives also the prefix of the declaration's members, for errors: empty, or `data.` in a CloudEvent.
func decode(message []byte) (d Declared, at string, err error) {
	root, err := scan(TrimBOM(message))
	if err != nil {
		return Declared{}, "", err
	}
	if root.kind != '{' {
		return Declared{}, "", wrong("", "it is %s, want an object", root.what())
	}
	if _, ok := root.members["specversion"]; !ok {
		d, err = declaration(root, "")
		return d, "", err
	}
	if err := checkEnvelope(root); err != nil {
		return Declared{}, "", err
	}
	d, err = declaration(root.members["data"], "data.")
	if err != nil {
		return Declared{}, "", err
	}
	var trace traceparents
	for name, v := range root.members {
		trace.see(name, v.text)
	}
	d.Traceparent = trace.value
	return d, "data.", nil
}

// checkCase refuses a member whose name differs in case only from one that Decode looks at in that place. Of several it
// names the first by bytes.
func checkCase(v value, in place, at string) error {
	if !v.misspelled {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(v.members)) {
		for _, as := range looked {
			if as.in&in != 0 && name != as.name && strings.EqualFold(name, as.name) {
				return wrong(
					at+name,
					"its name differs from %s in case only, and only that spelling is allowed: rename or remove it",
					Quote(at+as.name),
				)
			}
		}
	}
	return nil
}

// checkEnvelope checks what CloudEvents 1.0 requires of a structured event, and that its data is a declaration's JSON.
func checkEnvelope(root value) error {
	if err := checkCase(root, inEnvelope, ""); err != nil {
		return err
	}
	event := root.members
	for _, name := range []string{"specversion", "id", "source", "type"} {
		s, err := text(event, "", name, "a string that is not empty, as CloudEvents 1.0 requires")
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
	if v, ok := event["data_base64"]; ok && v.kind != 'n' {
		return wrong("data_base64", "binary data is not taken in: put the declared message into `data` as JSON")
	}
	data, ok := event["data"]
	if !ok {
		return wrong("data", "it is missing, want the declared message")
	}
	if data.kind != '{' {
		return wrong("data", "it is %s, want an object", data.what())
	}
	if _, ok := data.members["specversion"]; ok {
		return wrong("data.specversion", "a CloudEvent within a CloudEvent is not taken in")
	}
	return nil
}

func declaration(v value, at string) (Declared, error) {
	if err := checkCase(v, inDeclaration, at); err != nil {
		return Declared{}, err
	}
	d := Declared{Declaration: v.raw}

	id, err := text(v.members, at, "interactionIdentifier", "a GUID")
	if err != nil {
		return Declared{}, err
	}
	if err := checkGUID(id); err != nil {
		return Declared{}, wrong(at+"interactionIdentifier", "%v", err)
	}
	d.Identifier = strings.ToLower(id)

	const types = `"audio", "chat" or "transcript"`
	t, err := text(v.members, at, "type", types)
	if err != nil {
		return Declared{}, err
	}
	d.Type = Type(t)
	if !d.Type.Valid() {
		return Declared{}, wrong(at+"type", "it is %s, want %s", Quote(t), types)
	}

	for _, row := range flags {
		asked, ok := v.members[string(row.flag)]
		if !ok {
			continue
		}
		if asked.kind != 't' && asked.kind != 'f' {
			return Declared{}, wrong(at+string(row.flag), "it is %s, want true or false", asked.what())
		}
		if (asked.kind == 't') != row.wanted {
			d.Differs = append(d.Differs, row.flag)
		}
	}
	return d, nil
}

func text(members map[string]value, at, name, want string) (string, error) {
	v, ok := members[name]
	if !ok {
		return "", wrong(at+name, "it is missing, want %s", want)
	}
	if v.kind != '"' {
		return "", wrong(at+name, "it is %s, want %s", v.what(), want)
	}
	return v.text, nil
}
