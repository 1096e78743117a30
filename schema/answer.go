package schema

import (
	"encoding/json"
	"time"
)

// Answer is the vendor's answer to a status request.
type Answer struct {
	// Status is the member `status`.
	Status Status
	// ErrorMessage is the member `errorMessage`: its text, or its JSON if it is not a string. It is empty if the member
	// is null or missing.
	ErrorMessage string
	// Raw is the whole answer as it was received, if it is a JSON object that fits into a message.
	Raw json.RawMessage
	// Payload is the answer as it was received if Raw is empty: it is not valid JSON, or too large for a message. Of a
	// longer answer it has the first bytes, and Size is the size of the answer as far as it is known.
	Payload []byte
	Size    int
	// Sent is when the first byte of the request was written, by this host's clock.
	Sent time.Time
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
	// TokenRenewed reports that the vendor refused a token that has been replaced since: the next request has the new
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
