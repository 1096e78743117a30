package statusclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// eachMember calls visit for each member of the object that text begins with: its name, and its value as it is written.
//
// It is not a JSON parser, because those refuse the whole answer for a fault in a member that decides nothing: a lone
// surrogate, a control character in a string, NaN, nesting that is too deep. It only needs strings to end and brackets
// to match, so that no text inside of a value is taken for a member. Where the object is cut, what is whole counts.
//
// The error says, in words that follow "the answer", why text is no object; or it is that of visit.
func eachMember(text []byte, cut bool, visit func(name, value []byte) error) error {
	s := memberScanner{text: text}
	err := s.object(visit)
	if cut && errors.Is(err, errBroken) {
		return nil
	}
	return err
}

// errBroken says that the text ends before the object does.
var errBroken = errors.New("ends before its JSON does")

type memberScanner struct {
	text []byte
	at   int
}

func (s *memberScanner) object(visit func(name, value []byte) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		c, err := s.next()
		switch {
		case err != nil:
			return err
		case c == '}':
			s.at++
			if s.space(); s.at < len(s.text) {
				return fmt.Errorf("goes on after its end, at byte %d", s.at)
			}
			return nil
		case !first:
			if err := s.expect(','); err != nil {
				return err
			}
			if c, err := s.next(); err != nil || c == '}' { // a comma too many
				continue
			}
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		value, err := s.value()
		if err != nil {
			return err
		}
		if err := visit(name, value); err != nil {
			return err
		}
	}
}

// next passes over white space, and gives the byte that comes then without taking it.
func (s *memberScanner) next() (byte, error) {
	if s.space(); s.at == len(s.text) {
		return 0, errBroken
	}
	return s.text[s.at], nil
}

func (s *memberScanner) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\t' || s.text[s.at] == '\r' || s.text[s.at] == '\n') {
		s.at++
	}
}

func (s *memberScanner) expect(want byte) error {
	c, err := s.next()
	if err != nil {
		return err
	}
	if c != want {
		return s.notJSON(c)
	}
	s.at++
	return nil
}

func (s *memberScanner) notJSON(c byte) error {
	return fmt.Errorf("is not JSON: %q at byte %d", c, s.at)
}

// name takes a member's name, without its quotation marks. One that cannot be read decides nothing, and is empty.
func (s *memberScanner) name() ([]byte, error) {
	c, err := s.next()
	if err != nil {
		return nil, err
	}
	if c != '"' {
		return nil, s.notJSON(c)
	}
	start := s.at
	if err := s.string(); err != nil {
		return nil, err
	}
	name, _ := unquoted(s.text[start:s.at])
	return name, nil
}

// unquoted gives what a JSON string says; ok is false where it is none.
func unquoted(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	if plain := value[1 : len(value)-1]; !bytes.ContainsFunc(
		plain,
		func(r rune) bool { return r == '\\' || r < ' ' || r == utf8.RuneError },
	) {
		return plain, true
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return nil, false
	}
	return []byte(s), true
}

// string takes a string from its first to its last quotation mark.
func (s *memberScanner) string() error {
	for s.at++; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return nil
		}
	}
	s.at = len(s.text)
	return errBroken
}

// value takes a value, with all that is nested in it.
func (s *memberScanner) value() ([]byte, error) {
	if _, err := s.next(); err != nil {
		return nil, err
	}
	start := s.at
	var open []byte // the brackets that are to be closed
	ended := false  // a value has just ended, and no other can follow
	for {
		c, err := s.next()
		if err != nil {
			return nil, err
		}
		closes := len(open) > 0 && c == open[len(open)-1]
		separates := len(open) > 0 && (c == ',' || c == ':')
		switch {
		case closes:
			open = open[:len(open)-1]
			s.at++
		case separates:
			s.at++
		case ended, c == '}', c == ']', c == ',', c == ':', c == '\'':
			return nil, s.notJSON(c)
		case c == '"':
			if err := s.string(); err != nil {
				return nil, err
			}
		case c == '{', c == '[':
			open = append(open, c+2) // the closing one, in ASCII
			s.at++
		default:
			s.word()
		}
		ended = !separates && c != '{' && c != '['
		if len(open) == 0 {
			return s.text[start:s.at], nil
		}
	}
}

// word takes a number, true, false, null, or whatever stands in the place of one.
func (s *memberScanner) word() {
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n', ',', ':', '"', '{', '}', '[', ']':
			return
		}
	}
}
