// Package topology compares the streams and consumers that there are with those that there should be, and creates or
// updates them. What they should be is said by the packages that use them.
package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Consumer is a consumer that there should be.
type Consumer struct {
	Stream string
	Config jetstream.ConsumerConfig
}

// Set is what there should be. Streams come before consumers.
type Set struct {
	Streams   []jetstream.StreamConfig
	Consumers []Consumer
	// Unwanted consumers (the Config's name counts) stand in the way of the others.
	Unwanted []Consumer
}

// Add gives the union of both.
func (s Set) Add(other Set) Set {
	return Set{
		Streams:   slices.Concat(s.Streams, other.Streams),
		Consumers: slices.Concat(s.Consumers, other.Consumers),
		Unwanted:  slices.Concat(s.Unwanted, other.Unwanted),
	}
}

// Difference is one thing that is not as it should be.
type Difference struct {
	// Object is `stream NAME` or `consumer STREAM/NAME`.
	Object string
	// Field is what differs; empty where the whole object is missing or unwanted.
	Field string
	Have  string
	Want  string
	// Missing says that the object is not there, Unwanted that it is and should not be.
	Missing  bool
	Unwanted bool
	// Choice marks a field that operators may set as they like: a worker runs on either. Risk marks a choice that weakens a
	// promise.
	Choice bool
	Risk   bool
}

func (d Difference) String() string {
	switch {
	case d.Missing:
		return d.Object + ": is missing"
	case d.Unwanted:
		return d.Object + ": must not be there: " + d.Want
	}
	return fmt.Sprintf("%s: %s is %s, should be %s", d.Object, d.Field, d.Have, d.Want)
}

func streamName(name string) string           { return "stream " + name }
func consumerName(stream, name string) string { return "consumer " + stream + "/" + name }

// Compare says what differs, in the order of the set. It changes nothing. An error means that the broker could not be
// asked.
func Compare(ctx context.Context, js jetstream.JetStream, want Set) ([]Difference, error) {
	var ds []Difference
	for _, s := range want.Streams {
		have, err := js.Stream(ctx, s.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			ds = append(ds, Difference{Object: streamName(s.Name), Missing: true})
		case err != nil:
			return nil, fmt.Errorf("reading stream %s: %w", s.Name, err)
		default:
			ds = append(ds, differences(streamName(s.Name), streamRules, have.CachedInfo().Config, s)...)
		}
	}
	for _, c := range want.Consumers {
		object := consumerName(c.Stream, c.Config.Durable)
		have, err := js.Consumer(ctx, c.Stream, c.Config.Durable)
		switch {
		case Absent(err):
			ds = append(ds, Difference{Object: object, Missing: true})
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", object, err)
		default:
			ds = append(ds, differences(object, consumerRules, have.CachedInfo().Config, c.Config)...)
		}
	}
	for _, c := range want.Unwanted {
		object := consumerName(c.Stream, c.Config.Durable)
		_, err := js.Consumer(ctx, c.Stream, c.Config.Durable)
		switch {
		case Absent(err):
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", object, err)
		default:
			ds = append(ds, Difference{Object: object, Unwanted: true, Want: c.Config.Description})
		}
	}
	return ds, nil
}

// Absent tells whether an error means that the stream or the consumer is not there.
func Absent(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
}

// Create makes what is missing and returns what it made. It leaves alone what is there, as it is.
func Create(ctx context.Context, js jetstream.JetStream, want Set) (made []string, err error) {
	for _, s := range want.Streams {
		if _, err := js.Stream(ctx, s.Name); err == nil {
			continue
		} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return made, fmt.Errorf("reading stream %s: %w", s.Name, err)
		}
		if _, err := js.CreateStream(ctx, s); err != nil {
			return made, fmt.Errorf("creating stream %s: %w%s", s.Name, err, taken(ctx, js, s.Subjects, err))
		}
		made = append(made, streamName(s.Name))
	}
	for _, c := range want.Consumers {
		object := consumerName(c.Stream, c.Config.Durable)
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

// Update changes what differs to what it should be, and returns what it changed. The broker refuses some changes in
// place (storage, retention, message schedules off); the error says which object. It deletes nothing.
func Update(ctx context.Context, js jetstream.JetStream, want Set) (changed []string, err error) {
	ds, err := Compare(ctx, js, want)
	if err != nil {
		return nil, err
	}
	differs := map[string]bool{}
	for _, d := range ds {
		differs[d.Object] = !d.Missing && !d.Unwanted
	}
	for _, s := range want.Streams {
		if !differs[streamName(s.Name)] {
			continue
		}
		have, err := js.Stream(ctx, s.Name)
		if err != nil {
			return changed, fmt.Errorf("reading stream %s: %w", s.Name, err)
		}
		cfg := over(streamRules, have.CachedInfo().Config, s)
		cfg.Description = s.Description
		if cfg.MaxAge > 0 { // the broker takes no longer window
			cfg.Duplicates = min(cfg.Duplicates, cfg.MaxAge)
		}
		if _, err := js.UpdateStream(ctx, cfg); err != nil {
			return changed, fmt.Errorf("updating stream %s: %w", s.Name, err)
		}
		changed = append(changed, streamName(s.Name))
	}
	for _, c := range want.Consumers {
		object := consumerName(c.Stream, c.Config.Durable)
		if !differs[object] {
			continue
		}
		have, err := js.Consumer(ctx, c.Stream, c.Config.Durable)
		if err != nil {
			return changed, fmt.Errorf("reading %s: %w", object, err)
		}
		if _, err := js.UpdateConsumer(ctx, c.Stream, over(consumerRules, have.CachedInfo().Config, c.Config)); err != nil {
			return changed, fmt.Errorf("updating %s: %w", object, err)
		}
		changed = append(changed, object)
	}
	return changed, nil
}
