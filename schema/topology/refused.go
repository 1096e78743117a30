package topology

import (
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// Refused tells whether the broker refused a publish because the last sequence was not the expected one. A replicated
// stream answers 10164 instead of 10071 while another publish to the subject is on its way.
func Refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// storeFailed is the broker's code for three refusals: too many messages on the subject, in the stream, too many bytes.
const storeFailed jetstream.ErrorCode = 10077

// tooManyOnSubject is how the broker words the first of them; nothing else tells them apart.
const tooManyOnSubject = "maximum messages per subject exceeded"

// Full tells whether the broker refused a message because the stream has reached a bound of its own.
func Full(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storeFailed && api.Description != tooManyOnSubject
}

// Waits tells whether the broker refused a message because one is stored on its subject, which takes only one.
func Waits(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storeFailed && api.Description == tooManyOnSubject
}
