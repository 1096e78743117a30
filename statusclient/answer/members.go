package answer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// eachMember calls visit for each member of an object: its name, and its value as JSON text.
//
// JSON parsers reject a whole answer because of an error in any member: a lone surrogate, a control character in a
// string, NaN, too deep nesting. eachMember only requires that strings end and brackets match, so that no text inside
// of a value is mistaken for a member. If cut is set, it ignores an incomplete last member.
//
// The error is that of visit, or completes the sentence "the answer ...".
func eachMember(text []byte, cut bool, visit func(name, value []byte) error) error {
	s := memberScanner{text: text}
	err := s.object(visit)
	if cut && errors.Is(err, errBroken) {
		return nil
	}
	return err
}

// errBroken is the error of a text that ends before its object.
var errBroken = errors.New("has incomplete JSON")

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
				return fmt.Errorf("has data after the end of its JSON, at byte %d", s.at)
			}
			return nil
		case !first:
			if err := s.expect(','); err != nil {
				return err
			}
			if c, err := s.next(); err != nil || c == '}' { // a trailing comma
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

// next skips white space, and returns the next byte without consuming it.
func (s *memberScanner) next() (byte, error) {
	if s.space(); s.at == len(s.text) {
		return 0, errBroken
	}
	return s.text[s.at], nil
}

func (s *memberScanner) space() {
	for s.at < len(s.text) && isSpace(s.text[s.at]) {
		s.at++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

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

// name consumes the name of a member, and returns it without quotation marks. A name that is not valid is empty.
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

// unquoted returns the value of a JSON string. It reports false if value is not a string.
func unquoted(value []byte) (text []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	if plain := value[1 : len(value)-1]; isPlain(plain) {
		return plain, true
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return nil, false
	}
	return []byte(s), true
}

// isPlain reports whether the text between quotation marks is the value of the string.
func isPlain(text []byte) bool {
	ascii := true
	for _, c := range text {
		if c == '\\' || c < ' ' {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || !bytes.ContainsRune(text, utf8.RuneError)
}

// string consumes a string with its quotation marks.
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

// value consumes a value with everything that is nested in it, and returns its text.
func (s *memberScanner) value() ([]byte, error) {
	if _, err := s.next(); err != nil {
		return nil, err
	}
	start := s.at
	var open []byte // the closing brackets that are expected
	ended := false  // a value has just ended, and no other value can follow
	for {
		c, err := s.next()
		if err != nil {
			return nil, err
		}
		closes := len(open) > 0 && c == open[len(open)-1]
		separates := len(open) > 0 && strings.IndexByte(",:", c) >= 0
		switch {
		case closes:
			open = open[:len(open)-1]
			s.at++
		case separates:
			s.at++
		case ended, strings.IndexByte("}],:'", c) >= 0:
			return nil, s.notJSON(c)
		case c == '"':
			if err := s.string(); err != nil {
				return nil, err
			}
		case c == '{', c == '[':
			open = append(open, c+2) // the closing bracket, in ASCII
			s.at++
		default:
			s.word()
		}
		ended = !separates && strings.IndexByte("{[", c) < 0
		if len(open) == 0 {
			return s.text[start:s.at], nil
		}
	}
}

// word consumes a number, true, false, null, or any other text in place of one.
func (s *memberScanner) word() {
	for s.at < len(s.text) && !isSpace(s.text[s.at]) && strings.IndexByte(",:\"{}[]", s.text[s.at]) < 0 {
		s.at++
	}
}
