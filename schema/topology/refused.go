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
