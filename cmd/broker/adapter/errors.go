package adapter

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
	"statusworker/schema/broker"
)

// api is the subject of a request to the broker.
func api(what string, of ...string) string {
	return jetstream.DefaultAPIPrefix + what + "." + strings.Join(of, ".")
}

// failed says why an operation failed. A violation of permissions names the subject that the user may not use.
func failed(op, object string, err error) *broker.Error {
	e := &broker.Error{Op: op, Object: object, Kind: kind(err), Cause: err}
	if v := (*permission.Violation)(nil); errors.As(err, &v) {
		e.Object = v.Subject
	}
	return e
}

// What the broker calls being full, other than by a bound of the stream.
const (
	accountExceeded       jetstream.ErrorCode = 10002
	insufficientResources jetstream.ErrorCode = 10023
	memoryExceeded        jetstream.ErrorCode = 10028
	storageExceeded       jetstream.ErrorCode = 10047
)

// duplicateConflict is the broker's code where the first publish with the same ID is still on its way.
const duplicateConflict jetstream.ErrorCode = 10158

func kind(err error) error {
	var api *jetstream.APIError
	switch errors.As(err, &api); {
	case errors.Is(err, nats.ErrPermissionViolation):
		return broker.ErrDenied
	case refused(err):
		return broker.ErrRefused
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
	switch api.ErrorCode {
	case accountExceeded, insufficientResources, memoryExceeded, storageExceeded:
		return broker.ErrFull
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return broker.ErrTooLarge
	case duplicateConflict:
		return broker.ErrNoAnswer
	}
	if Retryable(err) {
		return broker.ErrNoAnswer
	}
	return nil
}

// unanswered tells whether no server has answered. The answers by which a server says that it cannot answer now come
// later.
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
