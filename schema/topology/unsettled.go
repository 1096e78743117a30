package topology

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// noPeers is the broker's error while a cluster that has just started does not know all its servers.
const noPeers jetstream.ErrorCode = 10005

// Unsettled tells whether a broker that gave this error may answer properly in a moment: it starts, or elects.
func Unsettled(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionReconnecting) ||
		errors.As(err, &api) && (api.Code == 503 || api.ErrorCode == noPeers)
}
