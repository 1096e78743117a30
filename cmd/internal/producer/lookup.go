package producer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/api"
	"statusworker/cmd/broker/permission"
	"statusworker/cmd/internal/connect"
	"statusworker/cmd/internal/producer/source"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// A declared message of an interaction with one of these errors changes nothing.
var (
	errInFlight  = errors.New("the interaction is in flight already")
	errProcessed = errors.New("the interaction has processed events")
)

// place is a stream in which a message of an interaction shows that declaring it changes nothing.
type place struct {
	stream   string
	subjects func(identifier string) string
	// judge returns an error for a message if declaring its interaction changes nothing.
	judge func(found) error
	// interactions are those with such a message, in words.
	interactions string
}

// places returns the places in the order of an interaction's messages: the next one is stored before the previous one
// is deleted.
func places(n schema.Namespace) []place {
	processedSubjects := func(identifier string) string { return n.ProcessedSubject("*", identifier) }
	processed := func(f found) error { return f.processed(n) }
	return []place{
		{n.StreamDeclared(), n.DeclaredSubjects, found.inFlight, "in flight"},
		{n.StreamPolls(), n.WaitingSubjects, found.inFlight, "in flight"},
		{n.StreamOutcomes(), processedSubjects, processed, "processed"},
	}
}

// readablePlaces returns the places that the user may read. It reports the others.
func readablePlaces(
	ctx context.Context, js jetstream.JetStream, n schema.Namespace, log logrus.FieldLogger, report func(string),
) ([]place, error) {
	var readable []place
	var denied, unknown []string
	for _, p := range places(n) {
		err := connect.Settled(ctx, js, log, func(ctx context.Context, js jetstream.JetStream) error {
			ctx, cancel := context.WithTimeout(ctx, ackTimeout)
			defer cancel()
			_, err := p.last(ctx, js, source.NoInteraction)
			return err
		})
		switch {
		case err == nil:
			readable = append(readable, p)
		case errors.Is(err, jetstream.ErrStreamNotFound): // with delayed naks there is no stream of polls
		case errors.Is(err, nats.ErrPermissionViolation):
			denied = append(denied, p.requests(js)[0])
			if !slices.Contains(unknown, p.interactions) {
				unknown = append(unknown, p.interactions)
			}
		default:
			return nil, err
		}
	}
	if len(denied) > 0 {
		report(fmt.Sprintf("interactions that are %s may be counted as declared, although that changes nothing: "+
			"looking them up needs the permission to publish %s; docs/permissions.md lists the permissions of each "+
			"command",
			strings.Join(unknown, " or "), strings.Join(denied, " and ")))
	}
	return readable, nil
}

// lookUp returns errInFlight or errProcessed if declaring an interaction changes nothing, and nil otherwise. Each of
// its requests may take ackTimeout.
func lookUp(ctx context.Context, js jetstream.JetStream, among []place, identifier string) error {
	for _, p := range among {
		bounded, cancel := context.WithTimeout(ctx, ackTimeout)
		last, err := p.last(bounded, js, identifier)
		cancel()
		if err != nil {
			return fmt.Errorf("looking up the interaction in stream %s: %w", p.stream, err)
		}
		if last == nil {
			continue
		}
		if err := p.judge(*last); err != nil {
			return err
		}
	}
	return nil
}

// requests are the subjects by which a violation may name a request for a message of the place.
func (p place) requests(js jetstream.JetStream) []string {
	return api.Of(js).Subjects("STREAM.MSG.GET", p.stream)
}

// found is a stored message.
type found struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Time     time.Time `json:"time"`
	Headers  []byte    `json:"hdrs"`
	Data     []byte    `json:"data"`
	headers  nats.Header
}

// last returns the last message of an interaction in the place, or nil. It does not use nats.go for the request, which
// would need the permission to read the stream's configuration.
func (p place) last(ctx context.Context, js jetstream.JetStream, identifier string) (*found, error) {
	request, err := json.Marshal(struct {
		Last string `json:"last_by_subj"`
	}{p.subjects(identifier)})
	if err != nil {
		return nil, err
	}
	answer, err := permission.RequestAPI(ctx, js, request, "STREAM.MSG.GET", p.stream)
	if err != nil {
		return nil, err
	}
	var decoded struct {
		Error   *jetstream.APIError `json:"error"`
		Message found               `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &decoded); err != nil {
		return nil, fmt.Errorf("decoding the broker's answer: %w", err)
	}
	if decoded.Error != nil {
		if errors.Is(decoded.Error, jetstream.ErrMsgNotFound) {
			return nil, nil
		}
		return nil, decoded.Error
	}
	if len(decoded.Message.Headers) > 0 {
		if decoded.Message.headers, err = nats.DecodeHeadersMsg(decoded.Message.Headers); err != nil {
			return nil, fmt.Errorf("decoding the headers of its message: %w", err)
		}
	}
	return &decoded.Message, nil
}

// inFlight returns errInFlight unless the message is a tombstone.
func (f found) inFlight() error {
	if lifecycle.IsTombstone(f.headers) {
		return nil
	}
	return errInFlight
}

// processed returns errProcessed if the message is a processed event.
func (f found) processed(n schema.Namespace) error {
	stored := lifecycle.ReadOutcome(n, f.Subject, f.Sequence, f.Time, f.Data)
	interaction := lifecycle.Snapshot{Outcomes: []lifecycle.Outcome{stored}}
	switch verdict, _ := interaction.TakeIn(lifecycle.Declared{Stored: time.Now()}); verdict {
	case lifecycle.Processed, lifecycle.Twice: // by this process's clock, the event may be stored later
		return errProcessed
	}
	return nil
}
