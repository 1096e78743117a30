package statusclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"statusworker/schema"
)

// Limits of an answer.
const (
	maxAnswerBytes  = 64 << 10 // after decompression; of a longer answer, what comes after is not read
	maxAnswerDepth  = 32       // of an answer that is handed on as JSON
	maxErrorMessage = 500      // bytes of an errorMessage that are shown; the answer has all of it
)

// decodeAnswer reads the vendor's answer about identifier. Only the members `identifier` and `status` decide: whatever
// else the answer has is handed on as it came, as JSON where it is JSON. cut says that body is the beginning of a
// longer answer. The error says, in words that follow "the answer", why body is no status. The answer shares no memory
// with body.
func decodeAnswer(body []byte, cut bool, identifier string) (schema.Answer, error) {
	object := bytes.TrimSpace(schema.TrimBOM(body))
	switch {
	case len(object) == 0:
		return schema.Answer{}, errors.New("is empty")
	case object[0] != '{' && json.Valid(object):
		return schema.Answer{}, errors.New("is JSON, but not an object")
	}
	var found struct{ identifier, status, errorMessage []byte }
	err := eachMember(object, cut, func(name, value []byte) error {
		var keep *[]byte
		switch string(name) {
		case "identifier":
			keep = &found.identifier
		case "status":
			keep = &found.status
		case "errorMessage":
			found.errorMessage = value
			return nil
		default:
			return nil
		}
		if *keep != nil && !bytes.Equal(*keep, value) {
			return fmt.Errorf("has the member `%s` twice, with different values", name)
		}
		*keep = value
		return nil
	})
	if err != nil {
		return schema.Answer{}, err
	}
	if about, err := stringOf("identifier", found.identifier); err != nil {
		return schema.Answer{}, err
	} else if !strings.EqualFold(about, identifier) {
		return schema.Answer{}, fmt.Errorf("is about another interaction, %s", schema.Quote(about))
	}
	status, err := stringOf("status", found.status)
	if err == nil {
		if bad := schema.Status(status).Check(); bad != nil {
			err = fmt.Errorf("has a member `status` that is no status: %w", bad)
		}
	}
	if err != nil {
		return schema.Answer{}, err
	}
	answer := schema.Answer{Status: schema.Status(status), ErrorMessage: errorMessageOf(found.errorMessage)}
	if !cut && handedOnAsJSON(object) {
		answer.Raw = bytes.Clone(object)
	} else {
		answer.Payload = bytes.Clone(body)
	}
	return answer, nil
}

// stringOf reads a member that must be a string.
func stringOf(name string, value []byte) (string, error) {
	if value == nil {
		return "", fmt.Errorf("has no member `%s`", name)
	}
	text, ok := unquoted(value)
	if !ok {
		return "", fmt.Errorf("has a member `%s` that is not a string", name)
	}
	return string(text), nil
}

// errorMessageOf is what can be shown of the member errorMessage: its text, or its JSON where it is no string.
func errorMessageOf(value []byte) string {
	if string(value) == "null" {
		return ""
	}
	text, ok := unquoted(value)
	if !ok {
		text = value
	}
	message := string(text[:min(len(text), maxErrorMessage)])
	if len(text) > maxErrorMessage {
		message += "..."
	}
	return strings.ToValidUTF8(message, "\uFFFD")
}

// handedOnAsJSON tells whether those who read outcomes can read this as JSON.
func handedOnAsJSON(object []byte) bool {
	if !utf8.Valid(object) || !json.Valid(object) {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(object); i++ {
		switch c := object[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{', c == '[':
			if depth++; depth > maxAnswerDepth {
				return false
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return true
}

// jsonContentType tells whether a Content-Type header says JSON: application/json, or any type that ends in +json.
func jsonContentType(s string) bool {
	s, _, _ = strings.Cut(s, ";")
	s = strings.TrimSpace(s)
	const suffix = "+json"
	return strings.EqualFold(s, "application/json") ||
		strings.Contains(s, "/") && len(s) > len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
