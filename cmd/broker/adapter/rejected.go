package adapter

import (
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// rejected reports whether the broker rejected a publish because the last sequence is not the expected one. A
// replicated stream answers 10164 instead of 10071 while another publish to the subject is in flight.
func rejected(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// storeFailed is the broker's code for three rejections: too many messages on the subject, too many messages in the
// stream, and too many bytes in the stream.
const storeFailed jetstream.ErrorCode = 10077

// tooManyOnSubject is the broker's description of the first of them. Only the description distinguishes them.
const tooManyOnSubject = "maximum messages per subject exceeded"

// Full reports whether the broker rejected a message because the stream has reached one of its limits.
func Full(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storeFailed && api.Description != tooManyOnSubject
}

// MaxPerSubject reports whether the broker rejected a message because one is stored on its subject, which accepts only
// one.
func MaxPerSubject(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storeFailed && api.Description == tooManyOnSubject
}
