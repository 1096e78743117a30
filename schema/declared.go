package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// MaxDeclaredBytes is the maximum size of a declared message. Each reservation of an interaction stores the message
// again, hundreds of times in total.
const MaxDeclaredBytes = 64 << 10

// MaxMessageBytes is the maximum size of a message that statusworker stores. An outcome contains the declared message
// and the vendor's answer.
const MaxMessageBytes = 256 << 10

// MaxDepth is the maximum nesting of objects and arrays in a declared message.
const MaxDepth = 16

// Declared is a declared message: the producer's description of an interaction that the vendor is processing.
type Declared struct {
	// Identifier is the vendor's interactionIdentifier, in lower case.
	Identifier string
	Type       Type
	// Differs has the flags whose value is not their default.
	Differs []Flag
	// Declaration is the message as it was received: the bare JSON, or the `data` of a CloudEvent.
	Declaration json.RawMessage
	// Traceparent is the W3C trace context of a CloudEvent, from an extension attribute in any case; or empty.
	Traceparent string
}

// MessageProblem classifies what is wrong with a message.
type MessageProblem string

// The problems of a message or of a member.
const (
	ProblemSize        MessageProblem = "size"
	ProblemEmpty       MessageProblem = "empty"
	ProblemJSON        MessageProblem = "JSON"
	ProblemEncoding    MessageProblem = "encoding"
	ProblemTrailing    MessageProblem = "trailing data"
	ProblemDepth       MessageProblem = "depth"
	ProblemDuplicate   MessageProblem = "duplicate"
	ProblemCase        MessageProblem = "case"
	ProblemMissing     MessageProblem = "missing"
	ProblemType        MessageProblem = "type"
	ProblemValue       MessageProblem = "value"
	ProblemUnsupported MessageProblem = "unsupported"
	ProblemSubject     MessageProblem = "subject"
)

// MemberError is the error of a message that is not valid.
type MemberError struct {
	// Member is a path of member names such as `data.type`; empty if the message as a whole is wrong.
	Member string
	Kind   MessageProblem
	// Problem is one line for people: what was found, and what is allowed.
	Problem string
}

func (e *MemberError) Error() string {
	if e.Member == "" {
		return "declared message: " + e.Problem
	}
	return "declared message: member " + Quote(e.Member) + ": " + e.Problem
}

func wrong(member string, kind MessageProblem, format string, args ...any) *MemberError {
	return &MemberError{Member: member, Kind: kind, Problem: fmt.Sprintf(format, args...)}
}

// Decode reads a declared message: bare JSON, or the `data` of a structured CloudEvent (an object with a member
// `specversion`). It ignores a byte order mark of UTF-8, and keeps unknown members. The declaration shares the memory
// of message.
//
// It returns a [*MemberError] unless the message is exactly one JSON object of at most [MaxDeclaredBytes] and
// [MaxDepth], without duplicate members, whose known members have valid values. A member must not differ only in case
// from a known one.
func Decode(message []byte) (Declared, error) {
	d, _, err := decode(message)
	return d, err
}

// DecodeFrom reads a declared message from a subject as [Decode] does. It also returns a [*MemberError] if the type or
// the identifier differs from that of the subject.
func (n Namespace) DecodeFrom(subject string, message []byte) (Declared, error) {
	kind, identifier, ok := n.SplitSubject(subject)
	if !ok {
		return Declared{}, wrong("", ProblemSubject, "the subject is %s; must be %s",
			Quote(subject), n.DeclaredSubject("<type>", "<identifier>"))
	}
	d, at, err := decode(message)
	if err != nil {
		return Declared{}, err
	}
	if string(d.Type) != kind {
		return Declared{}, wrong(at+"type", ProblemSubject, "%s differs from %s in the subject",
			Quote(string(d.Type)), Quote(kind))
	}
	if d.Identifier != identifier {
		if err := CheckIdentifier(identifier); err != nil {
			return Declared{}, wrong(at+"interactionIdentifier", ProblemSubject, "in the subject: %v", err)
		}
		return Declared{}, wrong(at+"interactionIdentifier", ProblemSubject, "%s differs from %s in the subject",
			Quote(d.Identifier), Quote(identifier))
	}
	return d, nil
}

// decode also returns the prefix of the declaration's members for errors: empty, or `data.` in a CloudEvent.
func decode(message []byte) (d Declared, at string, err error) {
	root, err := scan(TrimBOM(message))
	if err != nil {
		return Declared{}, "", err
	}
	if root.kind != '{' {
		return Declared{}, "", wrong("", ProblemType, "must be an object, is %s", root.what())
	}
	if _, ok := root.members.find("specversion"); !ok {
		d, err = declaration(root, "")
		return d, "", err
	}
	if err := checkEnvelope(root); err != nil {
		return Declared{}, "", err
	}
	data, _ := root.members.find("data")
	d, err = declaration(data, "data.")
	if err != nil {
		return Declared{}, "", err
	}
	var trace traceparents
	for _, m := range root.members {
		trace.see(m.name, m.text)
	}
	d.Traceparent = trace.value
	return d, "data.", nil
}

// checkCase returns an error if the name of a member differs only in case from a known one of that place. The error
// names the first such member in byte order.
func checkCase(v value, in place, at string) error {
	if !v.misspelled {
		return nil
	}
	byName := func(a, b member) int { return strings.Compare(a.name, b.name) }
	for _, m := range slices.SortedFunc(slices.Values(v.members), byName) {
		name := m.name
		for _, as := range knownMembers {
			if as.in&in != 0 && name != as.name && strings.EqualFold(name, as.name) {
				return wrong(at+name, ProblemCase, "the name differs only in case from %s: rename or remove the member",
					Quote(at+as.name))
			}
		}
	}
	return nil
}

// checkEnvelope checks what CloudEvents 1.0 requires of a structured event, and that its data may be a declaration.
func checkEnvelope(root value) error {
	if err := checkCase(root, inEnvelope, ""); err != nil {
		return err
	}
	event := root.members
	for _, name := range []string{"specversion", "id", "source", "type"} {
		const required = "a string that is not empty, as CloudEvents 1.0 requires"
		s, err := text(event, "", name, required)
		if err != nil {
			return err
		}
		if s == "" {
			return wrong(name, ProblemValue, "must be %s", required)
		}
		if name == "specversion" && s != "1.0" {
			return wrong(name, ProblemValue, "must be \"1.0\", is %s", Quote(s))
		}
	}
	if v, ok := event.find("data_base64"); ok && v.kind != 'n' {
		return wrong("data_base64", ProblemUnsupported,
			"binary data is not supported: put the declared message into `data` as JSON")
	}
	data, ok := event.find("data")
	if !ok {
		return wrong("data", ProblemMissing, "missing; must be the declared message")
	}
	if data.kind != '{' {
		return wrong("data", ProblemType, "must be an object, is %s", data.what())
	}
	if _, ok := data.members.find("specversion"); ok {
		return wrong("data.specversion", ProblemUnsupported, "a CloudEvent in a CloudEvent is not supported")
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
		return Declared{}, wrong(at+"interactionIdentifier", ProblemValue, "%v", err)
	}
	d.Identifier = strings.ToLower(id)

	const types = `"audio", "chat" or "transcript"`
	t, err := text(v.members, at, "type", types)
	if err != nil {
		return Declared{}, err
	}
	d.Type = Type(t)
	if !d.Type.Valid() {
		return Declared{}, wrong(at+"type", ProblemValue, "must be %s, is %s", types, Quote(t))
	}

	for _, row := range flags {
		asked, ok := v.members.find(string(row.flag))
		if !ok {
			continue
		}
		if asked.kind != 't' && asked.kind != 'f' {
			return Declared{}, wrong(at+string(row.flag), ProblemType, "must be true or false, is %s", asked.what())
		}
		if (asked.kind == 't') != row.wanted {
			d.Differs = append(d.Differs, row.flag)
		}
	}
	return d, nil
}

// text returns the value of a required member that is a string.
func text(all members, at, name, allowed string) (string, error) {
	v, ok := all.find(name)
	if !ok {
		return "", wrong(at+name, ProblemMissing, "missing; must be %s", allowed)
	}
	if v.kind != '"' {
		return "", wrong(at+name, ProblemType, "must be %s, is %s", allowed, v.what())
	}
	return v.text, nil
}
