package schema

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Answer is the vendor's answer to a status request.
type Answer struct {
	// Status is the member `status`.
	Status Status
	// ErrorMessage is the member `errorMessage`: its text, or its JSON if it is not a string. It is empty if the member
	// is null or missing.
	ErrorMessage string
	// Text is the answer as it was received. Cut means that it is the beginning of a longer one, and Size is the size
	// of the answer as far as it is known.
	Text []byte
	Cut  bool
	Size int
	// Sent is when the first byte of the request was written, by this host's clock.
	Sent time.Time
}

// Document returns the whole answer if it is a JSON object that fits into a message. Otherwise it returns the text as
// payload: it is not valid JSON, or too large for a message. Only an outcome needs it: it costs a pass over the text.
func (a Answer) Document() (document json.RawMessage, payload []byte) {
	if object := bytes.TrimSpace(TrimBOM(a.Text)); !a.Cut && isDocument(object) {
		return object, nil
	}
	return nil, a.Text
}

// maxAnswerDepth is the maximum nesting of an answer that is published as JSON.
const maxAnswerDepth = 32

// isDocument reports whether an object can be published as JSON: it is valid, and not nested too deep for common
// parsers.
func isDocument(object []byte) bool {
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

// PollError is the error of a status request.
type PollError struct {
	Fault Fault
	// StatusCode is the HTTP status, or 0 if there was no answer.
	StatusCode int
	// RetryAt is the time in the vendor's Retry-After, or zero.
	RetryAt time.Time
	// Sent is that of an [Answer]. It is zero if the request was not sent.
	Sent time.Time
	// TokenRenewed reports that the vendor rejected a token that has been replaced since: the next request has the new
	// token.
	TokenRenewed bool
	// Detail describes in one line what happened. It never contains the token.
	Detail string
	// Err is the cause, or nil.
	Err error
}

func (e *PollError) Error() string { return e.Detail }

// Unwrap returns the cause.
func (e *PollError) Unwrap() error { return e.Err }
