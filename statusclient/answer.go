package statusclient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"statusworker/schema"
)

// Limits of an answer.
const (
	maxAnswerBytes  = 64 << 10 // after decompression
	maxStatusLength = 64
	maxAnswerDepth  = 32
)

// decodeAnswer reads the vendor's answer about identifier. The error says, in words that follow "it", why body is no
// status. The answer shares no memory with body.
func decodeAnswer(dec *jsontext.Decoder, body []byte, identifier string) (schema.Answer, error) {
	var answer schema.Answer
	if kind := dec.PeekKind(); kind != '{' {
		if kind == 0 {
			_, err := dec.ReadToken()
			return answer, syntaxError(err)
		}
		return answer, errors.New("is JSON, but no object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return answer, syntaxError(err)
	}
	start := dec.InputOffset() - 1
	var identified, found bool
	for dec.PeekKind() != '}' {
		name, err := dec.ReadValue()
		if err != nil {
			return answer, syntaxError(err)
		}
		if bytes.IndexByte(name, '\\') >= 0 { // with the escapes that it needs, and no others
			unquoted, _ := jsontext.AppendUnquote(nil, name) // the decoder has found it right
			name, _ = jsontext.AppendQuote(nil, unquoted)
		}
		switch string(name) {
		case `"identifier"`:
			s, err := readString(dec, "identifier")
			if err != nil {
				return answer, err
			}
			if !strings.EqualFold(s, identifier) {
				return answer, fmt.Errorf("is about another interaction, %s", schema.Quote(s))
			}
			identified = true
		case `"status"`:
			s, err := readString(dec, "status")
			if err != nil {
				return answer, err
			}
			if err := checkStatus(s); err != nil {
				return answer, err
			}
			answer.Status, found = schema.Status(s), true
		case `"errorMessage"`:
			if dec.PeekKind() == 'n' {
				if err := dec.SkipValue(); err != nil {
					return answer, syntaxError(err)
				}
				break
			}
			if answer.ErrorMessage, err = readString(dec, "errorMessage"); err != nil {
				return answer, err
			}
		default:
			if err := skip(dec); err != nil {
				return answer, err
			}
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return answer, syntaxError(err)
	}
	end := dec.InputOffset()
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return answer, fmt.Errorf("goes on after its end, at byte %d", end)
	}
	switch {
	case !identified:
		return answer, errors.New("has no member `identifier`")
	case !found:
		return answer, errors.New("has no member `status`")
	}
	answer.Raw = bytes.Clone(body[start:end])
	return answer, nil
}

// skip reads a value that nobody looks at. It goes into the outcome all the same, and those who read that must be able to.
func skip(dec *jsontext.Decoder) error {
	for outside := dec.StackDepth(); ; {
		if _, err := dec.ReadToken(); err != nil {
			return syntaxError(err)
		}
		switch depth := dec.StackDepth(); {
		case depth > maxAnswerDepth:
			return fmt.Errorf("is nested deeper than %d levels", maxAnswerDepth)
		case depth == outside:
			return nil
		}
	}
}

func readString(dec *jsontext.Decoder, name string) (string, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return "", syntaxError(err)
	}
	if token.Kind() != '"' {
		return "", fmt.Errorf("has a member `%s` that is no string", name)
	}
	return token.String(), nil
}

// checkStatus accepts every status that can be shown: also one that is not listed. It ends up in headers and logs.
func checkStatus(s string) error {
	switch {
	case s == "":
		return errors.New("has an empty status")
	case len(s) > maxStatusLength:
		return fmt.Errorf("has a status of %d bytes, more than %d", len(s), maxStatusLength)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("has a status that cannot be shown, %s", schema.Quote(s))
	}
	return nil
}

func syntaxError(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		if errors.Is(err, io.EOF) {
			return errors.New("is empty")
		}
		return fmt.Errorf("is not JSON: %w", err)
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Errorf("has a member twice, at byte %d", syntax.ByteOffset)
	}
	return fmt.Errorf("is not JSON: %w, at byte %d", syntax.Err, syntax.ByteOffset)
}

// jsonContentType tells whether a Content-Type header says JSON: application/json, or any type that ends in +json.
func jsonContentType(s string) bool {
	s, _, _ = strings.Cut(s, ";")
	s = strings.TrimSpace(s)
	const suffix = "+json"
	return strings.EqualFold(s, "application/json") ||
		strings.Contains(s, "/") && len(s) > len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
