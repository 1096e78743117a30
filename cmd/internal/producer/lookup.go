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
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// errInFlight says that an interaction has a message in one of the places.
var errInFlight = errors.New("the interaction waits or is polled already")

// place is a stream in which an interaction in flight has a message.
type place struct {
	stream   string
	subjects func(identifier string) string
}

// places are in the order in which an interaction goes through them: it is stored in the next one before it leaves one.
var places = []place{{schema.StreamDeclared, schema.DeclaredSubjects}, {schema.StreamPolls, schema.WaitingSubjects}}

// placesToLook gives the places in which the user has the right to look. It reports the others.
func placesToLook(
	ctx context.Context,
	js jetstream.JetStream,
	log logrus.FieldLogger,
	report func(string),
) ([]place, error) {
	var may []place
	var denied []string
	for _, p := range places {
		err := connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
			ctx, cancel := context.WithTimeout(ctx, ackWithin)
			defer cancel()
			_, err := p.holds(ctx, js.Conn(), noInteraction)
			return err
		})
		switch {
		case err == nil:
			may = append(may, p)
		case errors.Is(err, jetstream.ErrStreamNotFound): // with delayed naks there is no stream of polls
		case errors.Is(err, nats.ErrPermissionViolation):
			denied = append(denied, p.right())
		default:
			return nil, err
		}
	}
	if len(denied) > 0 {
		report(
			"cannot look up what is in flight already, which may be counted as declared: the user lacks the right to publish " +
				strings.Join(denied, " and ") + "; docs/permissions.md lists the permissions of each command",
		)
	}
	return may, nil
}

// inFlight returns errInFlight where an interaction is in flight, and nil where it is not.
func inFlight(ctx context.Context, nc *nats.Conn, among []place, identifier string) error {
	ctx, cancel := context.WithTimeout(ctx, ackWithin)
	defer cancel()
	for _, p := range among {
		held, err := p.holds(ctx, nc, identifier)
		if err != nil {
			return fmt.Errorf("looking it up in %s: %w", p.stream, err)
		}
		if held {
			return errInFlight
		}
	}
	return nil
}

// right is the subject on which the broker is asked for a message of the place.
func (p place) right() string { return "$JS.API.STREAM.MSG.GET." + p.stream }

// holds reports whether the last message of an interaction in a place is there and is no tombstone. It makes the
// request itself: nats.go asks for the stream first, which takes one more right, and decodes the data.
func (p place) holds(ctx context.Context, nc *nats.Conn, identifier string) (bool, error) {
	request, err := json.Marshal(struct {
		Last string `json:"last_by_subj"`
	}{p.subjects(identifier)})
	if err != nil {
		return false, err
	}
	answer, err := permission.RequestWithContext(ctx, nc, p.right(), request)
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
		return false, fmt.Errorf("reading the broker's answer: %w", err)
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
		return false, fmt.Errorf("reading the headers of its message: %w", err)
	}
	return !lifecycle.IsTombstone(headers), nil
}
