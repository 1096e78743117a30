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

// Create makes what is missing and returns what it made. It leaves alone what is there, as it is.
func Create(ctx context.Context, js jetstream.JetStream, want topology.Set) (made []string, err error) {
	for _, s := range want.Streams {
		if _, err := js.Stream(ctx, s.Name); err == nil {
			continue
		} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return made, fmt.Errorf("reading stream %s: %w", s.Name, err)
		}
		if _, err := js.CreateStream(ctx, s); err != nil {
			return made, fmt.Errorf("creating stream %s: %w%s", s.Name, err, taken(ctx, js, s.Subjects, err))
		}
		made = append(made, topology.StreamObject(s.Name))
	}
	for _, c := range want.Consumers {
		object := c.Object()
		if _, err := js.Consumer(ctx, c.Stream, c.Config.Durable); err == nil {
			continue
		} else if !Absent(err) {
			return made, fmt.Errorf("reading %s: %w", object, err)
		}
		if _, err := js.CreateConsumer(ctx, c.Stream, c.Config); err != nil {
			return made, fmt.Errorf("creating %s: %w", object, err)
		}
		made = append(made, object)
	}
	return made, nil
}

// taken says which streams have the subjects that another one could not be created for.
func taken(ctx context.Context, js jetstream.JetStream, subjects []string, err error) string {
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != subjectsOverlap {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // who may not ask gets no answer
	defer cancel()
	var by []string
	for _, subject := range subjects {
		if name, err := js.StreamNameBySubject(ctx, subject); err == nil {
			by = append(by, fmt.Sprintf("stream %s takes %s", name, subject))
		}
	}
	if len(by) == 0 {
		return ": its subjects are " + strings.Join(subjects, " ")
	}
	return ": " + strings.Join(by, ", ")
}

// subjectsOverlap is the broker's code for a stream whose subjects another one has.
const subjectsOverlap jetstream.ErrorCode = 10065
