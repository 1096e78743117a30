package schema

import (
	"encoding/json"
	"time"
)

// Answer is what the vendor said about an interaction.
type Answer struct {
	// Status is the member `status`.
	Status Status
	// ErrorMessage is the member `errorMessage`: its text, or its JSON where it is no string. It is empty where the
	// vendor sent null or nothing.
	ErrorMessage string
	// Raw is the whole answer as it came, where it is a JSON object that can be handed on.
	Raw json.RawMessage
	// Payload is the answer as it came where Raw is empty: it is not valid JSON, or larger than a message can carry. It
	// has the first bytes of a longer answer, and Size is how many that had, as far as they are known.
	Payload []byte
	Size    int
}

// PollError is the error of a status request: what kind of fault it was, and what the vendor said about coming back.
type PollError struct {
	Fault Fault
	// StatusCode is the HTTP status, or 0 where there was no answer.
	StatusCode int
	// RetryAt is when the vendor wants to be asked again (Retry-After), or zero.
	RetryAt time.Time
	// TokenRenewed says that the vendor refused a token that is not in use any more: the next request has another.
	TokenRenewed bool
	// Detail says in one line what happened, without the token.
	Detail string
	// Err is the cause, if there is one.
	Err error
}

func (e *PollError) Error() string { return e.Detail }

// Unwrap gives the cause.
func (e *PollError) Unwrap() error { return e.Err }
