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

// CheckJSON refuses with a [*MemberError] whatever is not exactly one JSON value of at most [MaxDeclaredBytes] and
// [MaxDepth], without duplicate members and without a byte order mark (see [TrimBOM]).
func CheckJSON(message []byte) error {
	_, err := scan(message)
	return err
}

// value is a JSON value in a message.
type value struct {
	kind jsontext.Kind
	// misspelled says that the name of one of the members is not spelled as Decode looks at it.
	misspelled bool
	// text is what a string says.
	text string
	// raw is how an object or array is written.
	raw json.RawMessage
	// members are those that Decode looks at, in any case, of the message itself and of its `data`.
	members map[string]value
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

// place is a part of a message in which Decode looks at members.
type place uint8

const (
	inDeclaration place = 1 << iota
	inEnvelope
)

// known is a member that Decode looks at. In its places it has to be spelled as here.
type known struct {
	name string
	in   place
}

var looked = withFlags([]known{
	{"interactionIdentifier", inDeclaration}, {"type", inDeclaration | inEnvelope},
	// A declaration has none. One in another spelling may be meant as an envelope.
	{"specversion", inDeclaration | inEnvelope},
	{"id", inEnvelope}, {"source", inEnvelope}, {"data", inEnvelope}, {"data_base64", inEnvelope},
	// W3C Trace Context takes its names in any case.
	{"traceparent", 0},
})

func withFlags(members []known) []known {
	for _, row := range flags {
		members = append(members, known{string(row.flag), inDeclaration})
	}
	return members
}

// looksAt gives a member's name, which is written as JSON, and how it is spelled right, where Decode looks at such a
// member in any case. No name is made a string for it: a message has many that nobody looks at, and is read at every
// poll.
func looksAt(written jsontext.Value) (name, spelled string, ok bool) {
	unquoted := written[1 : len(written)-1]
	if bytes.IndexByte(unquoted, '\\') >= 0 {
		unquoted, _ = jsontext.AppendUnquote(nil, written) // the decoder has found it right
	}
	for i := range looked {
		spelled = looked[i].name
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

// scan reads a message in one pass, and checks what [CheckJSON] promises.
func scan(message []byte) (value, error) {
	if encoding := ForeignEncoding(message); encoding != "" {
		return value{}, wrong("", "it is %s, want UTF-8: encode it anew", encoding)
	}
	if len(message) > MaxDeclaredBytes {
		return value{}, wrong(
			"",
			"it is %d bytes long, at most %d are taken in: leave out what the pipeline does not need",
			len(message),
			MaxDeclaredBytes,
		)
	}
	dec := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(dec)
	dec.Reset(bytes.NewBuffer(message))
	s := scanner{message: message, dec: dec}
	v, err := s.value(levels)
	if errors.Is(err, io.EOF) {
		return value{}, wrong("", "it is empty, want a JSON object")
	}
	if err != nil {
		return value{}, scanProblem(err)
	}
	end := s.dec.InputOffset()
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return value{}, wrong("", "it goes on after its end, at byte %d", end)
	}
	return v, nil
}

// decoders are used again: their buffers and name tables are most of what reading a message allocates.
var decoders = sync.Pool{New: func() any { return jsontext.NewDecoder(bytes.NewReader(nil)) }}

// levels is how deep Decode looks: at the message, its members, and the members of its `data`.
const levels = 3

type scanner struct {
	message []byte
	dec     *jsontext.Decoder
}

// value reads the next value, and keeps what Decode looks at in that many levels of it, counting its own.
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
			return value{}, wrong(memberPath(s.dec.StackPointer()), "it is nested deeper than %d levels", MaxDepth)
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
	// Before something that is no JSON the kind is 0, and reading on gives the error.
	for k := s.dec.PeekKind(); k != '}' && k != ']'; k = s.dec.PeekKind() {
		var name, spelled string
		var keep bool
		if v.kind == '{' {
			written, err := s.dec.ReadValue()
			if err != nil {
				return err
			}
			if levels > 1 {
				name, spelled, keep = looksAt(written)
			}
		}
		if !keep {
			if _, err := s.value(0); err != nil {
				return err
			}
			continue
		}
		member, err := s.value(levels - 1)
		if err != nil {
			return err
		}
		if v.members == nil {
			v.members = make(map[string]value)
		}
		v.members[name] = member
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
