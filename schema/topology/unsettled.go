package topology

import (
	"context"
	"errors"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// noPeers is the broker's error while a cluster that has just started does not know all its servers.
	noPeers jetstream.ErrorCode = 10005
	// unavailable is the broker's HTTP-like code for what it cannot do now.
	unavailable = 503
)

// unsettled are the errors of the client that say nothing about a request but that it was not answered, or not sent.
var unsettled = []error{
	context.DeadlineExceeded,
	nats.ErrTimeout,
	jetstream.ErrAsyncPublishTimeout,
	jetstream.ErrNoHeartbeat, // no answer
	nats.ErrNoResponders,
	jetstream.ErrNoStreamResponse,
	jetstream.ErrJetStreamNotEnabled, // nobody there to answer
	nats.ErrDisconnected,
	nats.ErrConnectionReconnecting,
	nats.ErrReconnectBufExceeded,
	nats.ErrStaleConnection,         // no connection
	jetstream.ErrTooManyStalledMsgs, // answers to earlier publishes are missing
	jetstream.ErrServerShutdown,
	jetstream.ErrConsumerLeadershipChanged, // a pull that another leader has to answer
}

// Unsettled tells whether the same request may succeed in a moment: the broker that gave this error starts, elects a
// leader or has no room, it does not answer, or the connection to it was lost. It is the one place that knows this;
// what a caller adds concerns objects of its own. A closed connection, a missing right and what the broker refuses
// otherwise are final.
func Unsettled(err error) bool {
	for _, one := range unsettled {
		if errors.Is(err, one) {
			return true
		}
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == unavailable || api.ErrorCode == noPeers
	}
	var op *net.OpError // of a connection that has just been lost
	return errors.As(err, &op)
}
