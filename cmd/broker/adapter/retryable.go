package adapter

import (
	"context"
	"errors"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// noPeers is the broker's error while a cluster that has just started does not know all of its servers.
	noPeers jetstream.ErrorCode = 10005
	// unavailable is the broker's HTTP-like code for a request that it cannot serve now.
	unavailable = 503
)

// retryable are the errors of the client that mean only that a request was not answered or not sent.
var retryable = []error{
	context.DeadlineExceeded,
	nats.ErrTimeout,
	jetstream.ErrAsyncPublishTimeout,
	jetstream.ErrNoHeartbeat,
	nats.ErrNoResponders,
	jetstream.ErrNoStreamResponse,
	jetstream.ErrJetStreamNotEnabled,
	nats.ErrDisconnected,
	nats.ErrConnectionReconnecting,
	nats.ErrReconnectBufExceeded,
	nats.ErrStaleConnection,
	jetstream.ErrTooManyStalledMsgs,
	jetstream.ErrServerShutdown,
	jetstream.ErrConsumerLeadershipChanged,
}

// Retryable reports whether the same request may succeed later: the connection was lost, or the broker did not answer,
// is starting, is electing a leader, or is full. A closed connection, a missing permission and every other rejection
// are final. A caller may retry other errors, too, if they are about its own streams and consumers.
func Retryable(err error) bool {
	for _, e := range retryable {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == unavailable || api.ErrorCode == noPeers
	}
	var op *net.OpError // from a connection that was just lost
	return errors.As(err, &op)
}
