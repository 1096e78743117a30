package provisioning

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/topology"
)

// Create creates missing streams, messages and consumers, and returns what it created, also with an error. It does not
// change existing ones. It leaves out the messages whose streams do not accept their subjects: first, [Update] must
// change the streams.
func Create(ctx context.Context, js jetstream.JetStream, want topology.Set) (created []string, err error) {
	for _, s := range want.Streams {
		if _, err := js.Stream(ctx, s.Name); err == nil {
			continue
		} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return created, fmt.Errorf("reading stream %s: %w", s.Name, err)
		}
		if _, err := js.CreateStream(ctx, s); err != nil {
			return created, fmt.Errorf("creating stream %s: %w%s", s.Name, err, overlaps(ctx, js, s.Subjects, err))
		}
		created = append(created, topology.StreamObject(s.Name))
	}
	messages, err := createMessages(ctx, js, want.Messages)
	created = append(created, messages...)
	if err != nil {
		return created, err
	}
	for _, c := range want.Consumers {
		object := c.Object()
		if _, err := js.Consumer(ctx, c.Stream, c.Config.Durable); err == nil {
			continue
		} else if !Absent(err) {
			return created, fmt.Errorf("reading %s: %w", object, err)
		}
		if _, err := js.CreateConsumer(ctx, c.Stream, c.Config); err != nil {
			return created, fmt.Errorf("creating %s: %w", object, err)
		}
		created = append(created, object)
	}
	return created, nil
}

// overlaps returns which streams have the subjects that a stream could not be created with.
func overlaps(ctx context.Context, js jetstream.JetStream, subjects []string, err error) string {
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != subjectsOverlap {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // a denied request gets no answer
	defer cancel()
	var by []string
	for _, subject := range subjects {
		if name, err := js.StreamNameBySubject(ctx, subject); err == nil {
			by = append(by, fmt.Sprintf("stream %s has %s", name, subject))
		}
	}
	if len(by) == 0 {
		return ": its subjects are " + strings.Join(subjects, " ")
	}
	return ": " + strings.Join(by, ", ")
}

// subjectsOverlap is the error code if another stream has a subject of the stream.
const subjectsOverlap jetstream.ErrorCode = 10065
