package producer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/producer/source"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// errInFlight means that an interaction has a message in one of the places.
var errInFlight = errors.New("the interaction is in flight already")

// place is a stream that holds messages of interactions in flight.
type place struct {
	stream   string
	subjects func(identifier string) string
}

// places are in the order of an interaction's messages: the next one is stored before the previous one is deleted.
var places = []place{{schema.StreamDeclared, schema.DeclaredSubjects}, {schema.StreamPolls, schema.WaitingSubjects}}

// readablePlaces returns the places that the user may read. It reports the others.
func readablePlaces(
	ctx context.Context, js jetstream.JetStream, log logrus.FieldLogger, report func(string),
) ([]place, error) {
	var readable []place
	var denied []string
	for _, p := range places {
		err := connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
			ctx, cancel := context.WithTimeout(ctx, ackTimeout)
			defer cancel()
			_, err := p.holds(ctx, js.Conn(), source.NoInteraction)
			return err
		})
		switch {
		case err == nil:
			readable = append(readable, p)
		case errors.Is(err, jetstream.ErrStreamNotFound): // with delayed naks there is no stream of polls
		case errors.Is(err, nats.ErrPermissionViolation):
			denied = append(denied, p.request())
		default:
			return nil, err
		}
	}
	if len(denied) > 0 {
		report("interactions in flight may be counted as declared: looking them up needs the permission to publish " +
			strings.Join(denied, " and ") + "; docs/permissions.md lists the permissions of each command")
	}
	return readable, nil
}

// inFlight returns errInFlight if an interaction is in flight, and nil if it is not.
func inFlight(ctx context.Context, nc *nats.Conn, among []place, identifier string) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	for _, p := range among {
		held, err := p.holds(ctx, nc, identifier)
		if err != nil {
			return fmt.Errorf("looking up the interaction in stream %s: %w", p.stream, err)
		}
		if held {
			return errInFlight
		}
	}
	return nil
}

// request is the subject of requests for a message of the place.
func (p place) request() string { return "$JS.API.STREAM.MSG.GET." + p.stream }

// holds reports whether the place has a message of an interaction, and the last one is not a tombstone. It does not use
// nats.go for the request, which would need the permission to read the stream's configuration, and decode the data.
func (p place) holds(ctx context.Context, nc *nats.Conn, identifier string) (bool, error) {
	request, err := json.Marshal(struct {
		Last string `json:"last_by_subj"`
	}{p.subjects(identifier)})
	if err != nil {
		return false, err
	}
	answer, err := permission.RequestWithContext(ctx, nc, p.request(), request)
	if err != nil {
		return false, err
	}
	var found struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Headers []byte `json:"hdrs"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &found); err != nil {
		return false, fmt.Errorf("decoding the broker's answer: %w", err)
	}
	if found.Error != nil {
		if errors.Is(found.Error, jetstream.ErrMsgNotFound) {
			return false, nil
		}
		return false, found.Error
	}
	if len(found.Message.Headers) == 0 {
		return true, nil
	}
	headers, err := nats.DecodeHeadersMsg(found.Message.Headers)
	if err != nil {
		return false, fmt.Errorf("decoding the headers of its message: %w", err)
	}
	return !lifecycle.IsTombstone(headers), nil
}
