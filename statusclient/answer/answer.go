// Package answer decodes the vendor's answers to status requests. It does no I/O.
package answer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"statusworker/schema"
)

// maxErrorMessage is the maximum number of bytes of an errorMessage that are shown. The answer has all of it.
const maxErrorMessage = 500

// Decode reads the vendor's answer about an interaction. It requires only valid members `identifier` and `status`; the
// other members may be malformed. Cut reports that body is the beginning of a longer answer.
//
// The answer does not share memory with body. The error completes the sentence "the answer ...".
func Decode(body []byte, cut bool, identifier string) (schema.Answer, error) {
	object := bytes.TrimSpace(schema.TrimBOM(body))
	switch {
	case len(object) == 0:
		return schema.Answer{}, errors.New("is empty")
	case object[0] != '{' && json.Valid(object):
		return schema.Answer{}, errors.New("is JSON, but not an object")
	}
	var found members
	if err := eachMember(object, cut, found.add); err != nil {
		return schema.Answer{}, err
	}
	about, err := stringOf("identifier", found.identifier)
	if err != nil {
		return schema.Answer{}, err
	}
	if !strings.EqualFold(about, identifier) {
		return schema.Answer{}, fmt.Errorf("is about another interaction, %s", schema.Quote(about))
	}
	text, err := stringOf("status", found.status)
	if err != nil {
		return schema.Answer{}, err
	}
	status := schema.Status(text)
	if err := status.Check(); err != nil {
		return schema.Answer{}, fmt.Errorf("has an invalid member `status`: %w", err)
	}
	return schema.Answer{
		Status: status, ErrorMessage: errorMessageOf(found.errorMessage), Text: bytes.Clone(body), Cut: cut,
	}, nil
}

// members are the values of known members as JSON; nil if a member is missing.
type members struct{ identifier, status, errorMessage []byte }

// add stores a known member. A member that decides must not have two different values.
func (m *members) add(name, value []byte) error {
	var keep *[]byte
	switch string(name) {
	case "identifier":
		keep = &m.identifier
	case "status":
		keep = &m.status
	case "errorMessage":
		m.errorMessage = value
		return nil
	default:
		return nil
	}
	if *keep != nil && !bytes.Equal(*keep, value) {
		return fmt.Errorf("has the member `%s` twice, with different values", name)
	}
	*keep = value
	return nil
}

// stringOf returns the value of a member that must be a string.
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

// errorMessageOf returns the text of the member errorMessage, or its JSON if it is not a string. It cuts a long text.
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
