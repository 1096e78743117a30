package broker

import (
	"errors"
	"strings"
)

// The kinds of errors. An error that is none of them is one that the broker has no reason to give to these rules, for
// example because a stream is not made as it should be.
var (
	// ErrRefused: the condition of a publish does not hold, or the broker cannot tell because another publish is on its
	// way. It says nothing about what is stored.
	ErrRefused = errors.New("the condition does not hold")
	// ErrMaxPerSubject: a message is stored on the subject, which takes only one.
	ErrMaxPerSubject = errors.New("the subject has a message already")
	// ErrFull: the stream, the account or the server has reached a limit of its storage.
	ErrFull = errors.New("the storage is full")
	// ErrTooLarge: the message is larger than the server or the stream takes.
	ErrTooLarge = errors.New("the message is too large")
	// ErrNotFound: no such message is stored.
	ErrNotFound = errors.New("no such message")
	// ErrStreamNotFound: no stream has that name.
	ErrStreamNotFound = errors.New("no such stream")
	// ErrConsumerNotFound: the stream has no consumer of that name.
	ErrConsumerNotFound = errors.New("no such consumer")
	// ErrNoAnswer: the broker did not answer, or cannot answer now. What was asked for may have happened, and may yet
	// happen.
	ErrNoAnswer = errors.New("no answer")
	// ErrDenied: the user lacks the permission. [Error.Object] is the subject.
	ErrDenied = errors.New("permission denied")
	// ErrClosed: the connection is closed for good.
	ErrClosed = errors.New("the connection is closed")
)

// Error is why an operation failed.
type Error struct {
	// Op is the operation, for example "publish".
	Op string
	// Object is the subject, the stream, or the stream and consumer that it was about.
	Object string
	// Kind is one of this package's errors, or nil.
	Kind error
	// Cause is what the client library or the broker said, or nil.
	Cause error
}

func (e *Error) Error() string {
	parts := []string{e.Op + " " + e.Object}
	for _, err := range e.Unwrap() {
		parts = append(parts, err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
