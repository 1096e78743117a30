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

// storeFailed is the broker's code if the store of a stream does not accept a message: there are too many messages on
// the subject, or too many messages or bytes in the stream, or the store has failed.
const storeFailed jetstream.ErrorCode = 10077

// tooManyOnSubject is the broker's description of too many messages on the subject. Only the description distinguishes
// the causes.
const tooManyOnSubject = "maximum messages per subject exceeded"

// Full reports whether the broker rejected a message because the stream has reached its maximum number of messages or
// of bytes, or because its store has failed. A full account or server has other codes: see [broker.ErrFull].
func Full(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storeFailed && api.Description != tooManyOnSubject
}

// MaxPerSubject reports whether the broker rejected a message because its subject already has as many messages as the
// stream allows for each subject.
func MaxPerSubject(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storeFailed && api.Description == tooManyOnSubject
}
