package broker

import (
	"errors"
	"strings"
)

// The kinds of errors. An error of no kind is one that the broker returns only if something is misconfigured, for
// example a stream.
var (
	// ErrRejected: the condition of a publish is false, or the broker cannot evaluate it because another publish is in
	// flight. It does not prove what is stored.
	ErrRejected = errors.New("the condition of the publish is not met")
	// ErrDuplicate: a message of the batch has an ID that was used within the stream's duplicate window, or that the
	// batch has twice. The message with that ID may have been deleted since.
	ErrDuplicate = errors.New("the message ID was used before")
	// ErrUnsupported: the stream or the broker does not store such a batch.
	ErrUnsupported = errors.New("atomic batch not supported")
	// ErrMaxPerSubject: a message is stored on the subject, which accepts only one.
	ErrMaxPerSubject = errors.New("the subject already has a message")
	// ErrFull: the stream, the account or the server has reached a storage limit.
	ErrFull = errors.New("the storage is full")
	// ErrTooLarge: the message is larger than the limit of the server or the stream.
	ErrTooLarge = errors.New("the message is too large")
	// ErrNotFound: no such message is stored.
	ErrNotFound = errors.New("message not found")
	// ErrStreamNotFound: there is no stream of that name.
	ErrStreamNotFound = errors.New("stream not found")
	// ErrConsumerNotFound: the stream has no consumer of that name.
	ErrConsumerNotFound = errors.New("consumer not found")
	// ErrNoAnswer: the broker did not answer, or cannot answer now. The request may have been executed, or may be
	// executed later.
	ErrNoAnswer = errors.New("no answer")
	// ErrDenied: the user lacks a permission. [Error.Object] is the subject.
	ErrDenied = errors.New("permission denied")
	// ErrClosed: the connection is closed and is not opened again.
	ErrClosed = errors.New("the connection is closed")
)

// Error is the error of an operation.
type Error struct {
	// Op is the operation, for example "publish".
	Op string
	// Object is what the operation used: a subject, a stream, or a stream and a consumer.
	Object string
	// Kind is one of this package's errors, or nil.
	Kind error
	// Cause is the error of the client library or of the broker, or nil.
	Cause error
}

func (e *Error) Error() string {
	parts := []string{e.Op + " " + e.Object}
	for _, err := range e.Unwrap() {
		parts = append(parts, err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
