package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// CheckJSON returns a [*MemberError] unless the message is exactly one JSON value of at most [MaxDeclaredBytes] and
// [MaxDepth], without duplicate members and without a byte order mark (see [TrimBOM]).
func CheckJSON(message []byte) error {
	_, err := scan(message)
	return err
}

// value is a JSON value in a message.
type value struct {
	kind jsontext.Kind
	// misspelled reports that the name of a member differs only in case from a known one.
	misspelled bool
	// text is the value of a string.
	text string
	// raw is the JSON text of an object or array.
	raw json.RawMessage
	// members are the known members, with names in any case, of the message itself and of its `data`.
	members members
}

// members is a slice, because a map would cost more at every poll: few members are known.
type members []member

type member struct {
	name string
	value
}

// find returns the value of a member.
func (m members) find(name string) (value, bool) {
	for i := range m {
		if m[i].name == name {
			return m[i].value, true
		}
	}
	return value{}, false
}

func (v value) what() string {
	switch v.kind {
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

// place is a part of a message that has known members.
type place uint8

const (
	inDeclaration place = 1 << iota
	inEnvelope
)

// known is a member that Decode reads. In its places, its name must have exactly this case.
type known struct {
	name string
	in   place
}

var knownMembers = withFlags([]known{
	{"interactionIdentifier", inDeclaration}, {"type", inDeclaration | inEnvelope},
	// A declaration has no specversion. With its name in another case, the message may be meant as an envelope.
	{"specversion", inDeclaration | inEnvelope},
	{"id", inEnvelope}, {"source", inEnvelope}, {"data", inEnvelope}, {"data_base64", inEnvelope},
	// W3C Trace Context allows names in any case.
	{"traceparent", 0},
})

func withFlags(members []known) []known {
	for _, row := range flags {
		members = append(members, known{string(row.flag), inDeclaration})
	}
	return members
}

// knownName returns the name of a member, which is given as JSON, and the name of the known member that it equals in
// any case. It allocates no string for other names: messages have many, and are read at every poll.
func knownName(written jsontext.Value) (name, spelled string, ok bool) {
	unquoted := written[1 : len(written)-1]
	if bytes.IndexByte(unquoted, '\\') >= 0 {
		unquoted, _ = jsontext.AppendUnquote(nil, written) // the decoder has checked it
	}
	for i := range knownMembers {
		spelled = knownMembers[i].name
		if len(unquoted) != len(spelled) {
			continue
		}
		if string(unquoted) == spelled {
			return spelled, spelled, true
		}
		if strings.EqualFold(string(unquoted), spelled) {
			return string(unquoted), spelled, true
		}
	}
	return "", "", false
}

// scan reads a message in one pass, with the checks of [CheckJSON].
func scan(message []byte) (value, error) {
	if encoding := ForeignEncoding(message); encoding != "" {
		return value{}, wrong("", ProblemEncoding, "the encoding must be UTF-8, is %s", encoding)
	}
	if len(message) > MaxDeclaredBytes {
		return value{}, wrong("", ProblemSize,
			"%d bytes long; at most %d bytes are allowed: remove members that the pipeline does not need",
			len(message), MaxDeclaredBytes)
	}
	dec := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(dec)
	dec.Reset(bytes.NewBuffer(message))
	s := scanner{message: message, dec: dec}
	v, err := s.value(levels)
	if errors.Is(err, io.EOF) {
		return value{}, wrong("", ProblemEmpty, "empty; must be a JSON object")
	}
	if err != nil {
		return value{}, scanProblem(err)
	}
	end := s.dec.InputOffset()
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return value{}, wrong("", ProblemTrailing, "data after the end of the JSON value, at byte %d", end)
	}
	return v, nil
}

// decoders saves most allocations of reading a message: the buffers and name tables of decoders.
var decoders = sync.Pool{New: func() any { return jsontext.NewDecoder(bytes.NewReader(nil)) }}

// levels is how deep Decode reads: the message, its members, and the members of its `data`.
const levels = 3

type scanner struct {
	message []byte
	dec     *jsontext.Decoder
}

// value reads the next value. It keeps the known members of that many levels, including its own.
func (s *scanner) value(levels int) (value, error) {
	tok, err := s.dec.ReadToken()
	if err != nil {
		return value{}, err
	}
	v := value{kind: tok.Kind()}
	switch v.kind {
	case '"':
		if levels > 0 {
			v.text = tok.String()
		}
	case '{', '[':
		start := s.dec.InputOffset() - 1
		if s.dec.StackDepth() > MaxDepth {
			return value{}, wrong(memberPath(s.dec.StackPointer()), ProblemDepth, "nested deeper than %d levels",
				MaxDepth)
		}
		if err := s.inside(&v, levels); err != nil {
			return value{}, err
		}
		v.raw = s.message[start:s.dec.InputOffset()]
	}
	return v, nil
}

// inside reads the members or elements of v up to its end.
func (s *scanner) inside(v *value, levels int) error {
	// Before invalid JSON the kind is 0, and the next read returns the error.
	for k := s.dec.PeekKind(); k != '}' && k != ']'; k = s.dec.PeekKind() {
		var name, spelled string
		var keep bool
		if v.kind == '{' {
			written, err := s.dec.ReadValue()
			if err != nil {
				return err
			}
			if levels > 1 {
				name, spelled, keep = knownName(written)
			}
		}
		if !keep {
			if _, err := s.value(0); err != nil {
				return err
			}
			continue
		}
		found, err := s.value(levels - 1)
		if err != nil {
			return err
		}
		if v.members == nil {
			v.members = make(members, 0, 4)
		}
		v.members = append(v.members, member{name, found})
		v.misspelled = v.misspelled || name != spelled
	}
	_, err := s.dec.ReadToken()
	return err
}

func scanProblem(err error) error {
	var problem *MemberError
	if errors.As(err, &problem) {
		return problem
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return wrong("", ProblemJSON, "not valid JSON: %v", err)
	}
	member := memberPath(syntax.JSONPointer)
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return wrong(member, ProblemDuplicate, "duplicate member")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return wrong(member, ProblemJSON, "not valid JSON: unexpected end at byte %d", syntax.ByteOffset)
	}
	return wrong(member, ProblemJSON, "not valid JSON: %v, at byte %d", syntax.Err, syntax.ByteOffset)
}

func memberPath(p jsontext.Pointer) string {
	var names []string
	for name := range p.Tokens() {
		names = append(names, name)
	}
	return strings.Join(names, ".")
}
