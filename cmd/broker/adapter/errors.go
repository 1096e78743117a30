package adapter

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"statusworker/cmd/broker/permission"
	"statusworker/schema/broker"
)

// failed returns the error of an operation. After a permissions violation, its object is the denied subject.
func failed(op, object string, err error) *broker.Error {
	e := &broker.Error{Op: op, Object: object, Kind: kind(err), Cause: err}
	if v := (*permission.Violation)(nil); errors.As(err, &v) {
		e.Object = v.Subject
	}
	return e
}

// The error codes for exceeded limits other than those of a stream.
const (
	accountExceeded       jetstream.ErrorCode = 10002
	insufficientResources jetstream.ErrorCode = 10023
	memoryExceeded        jetstream.ErrorCode = 10028
	storageExceeded       jetstream.ErrorCode = 10047
)

// duplicateConflict is the error code while an earlier publish with the same ID is not yet stored.
const duplicateConflict jetstream.ErrorCode = 10158

func kind(err error) error {
	var api *jetstream.APIError
	switch errors.As(err, &api); {
	case errors.Is(err, nats.ErrPermissionViolation):
		return broker.ErrDenied
	case rejected(err):
		return broker.ErrRejected
	case MaxPerSubject(err):
		return broker.ErrMaxPerSubject
	case Full(err):
		return broker.ErrFull
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return broker.ErrNotFound
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return broker.ErrStreamNotFound
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrConsumerDeleted):
		return broker.ErrConsumerNotFound
	case errors.Is(err, nats.ErrMaxPayload):
		return broker.ErrTooLarge
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrConnectionClosed):
		return broker.ErrClosed
	case unanswered(err), api == nil && Retryable(err):
		return broker.ErrNoAnswer
	case api == nil:
		return nil
	}
	return kindOfCode(api.ErrorCode, err)
}

// kindOfCode returns the kind of an error with a code that does not have an error of its own.
func kindOfCode(code jetstream.ErrorCode, err error) error {
	switch code {
	case accountExceeded, insufficientResources, memoryExceeded, storageExceeded:
		return broker.ErrFull
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return broker.ErrTooLarge
	case jetstreamext.JSErrCodeBatchPublishDuplicateMsgID:
		return broker.ErrDuplicate
	case jetstreamext.JSErrCodeBatchPublishNotEnabled, jetstreamext.JSErrCodeBatchPublishUnsupportedHeader,
		jetstreamext.JSErrCodeBatchPublishExceedsLimit:
		return broker.ErrUnsupported
	case duplicateConflict, jetstreamext.JSErrCodeBatchPublishIncomplete,
		jetstreamext.JSErrCodeAtomicPublishTooManyInflight:
		return broker.ErrNoAnswer
	}
	if Retryable(err) {
		return broker.ErrNoAnswer
	}
	return nil
}

// unanswered reports whether JetStream has not answered a request. An answer with the code 503 (not available) is an
// answer: see [Retryable].
func unanswered(err error) bool {
	for _, e := range []error{
		context.DeadlineExceeded, context.Canceled, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, jetstream.ErrNoStreamResponse,
		jetstream.ErrNoHeartbeat,
		jetstream.ErrOrderedConsumerReset, jetstream.ErrMsgIteratorClosed,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
