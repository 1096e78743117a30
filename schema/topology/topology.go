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

	"statusworker/schema"
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
	// Choice marks a field that operators may set as they like: a worker runs on either.
	Choice bool
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

type field struct {
	name       string
	have, want string
	choice     bool
}

func show[T any](v T) string {
	switch v := any(v).(type) {
	case []string:
		return strings.Join(v, " ")
	case time.Duration:
		return schema.Duration(v)
	case []time.Duration:
		if len(v) == 0 {
			return "none"
		}
	}
	return fmt.Sprint(v)
}

func limit(n int64) string {
	if n <= 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func age(d time.Duration) string {
	if d <= 0 {
		return "unlimited"
	}
	return schema.Duration(d)
}

func streamFields(have, want jetstream.StreamConfig) []field {
	return []field{
		{"subjects", show(have.Subjects), show(want.Subjects), false},
		{"retention", show(have.Retention), show(want.Retention), false},
		{"discard", show(have.Discard), show(want.Discard), false},
		{"discard new per subject", show(have.DiscardNewPerSubject), show(want.DiscardNewPerSubject), false},
		{"max messages per subject", limit(have.MaxMsgsPerSubject), limit(want.MaxMsgsPerSubject), false},
		{"message schedules", show(have.AllowMsgSchedules), show(want.AllowMsgSchedules), false},
		{"direct gets", show(have.AllowDirect), show(want.AllowDirect), false},
		{"no ack", show(have.NoAck), show(want.NoAck), false},
		{"sealed", show(have.Sealed), show(want.Sealed), false},
		{"mirror or sources", show(have.Mirror != nil || len(have.Sources) > 0), show(want.Mirror != nil || len(want.Sources) > 0), false},
		{"subject transform", show(have.SubjectTransform != nil), show(want.SubjectTransform != nil), false},
		// Where messages wait for their outcome, an age would lose them. That of a key-value bucket is how long its values hold.
		{"max age", age(have.MaxAge), age(want.MaxAge), want.MaxAge > 0 && !isBucket(want)},
		{"max messages", limit(have.MaxMsgs), limit(want.MaxMsgs), want.Discard == jetstream.DiscardNew || want.Retention == jetstream.LimitsPolicy},
		{"max bytes", limit(have.MaxBytes), limit(want.MaxBytes), want.Discard == jetstream.DiscardNew || want.Retention == jetstream.LimitsPolicy},
		// What is declared may be bounded: its producer is told. What the stage stores itself must fit; a key's value is small.
		{"max message size", limit(int64(have.MaxMsgSize)), limit(int64(want.MaxMsgSize)), want.DiscardNewPerSubject || isBucket(want) || have.MaxMsgSize >= schema.MaxMessageBytes},
		{"storage", show(have.Storage), show(want.Storage), true},
		{"replicas", show(max(have.Replicas, 1)), show(max(want.Replicas, 1)), true},
	}
}

func isBucket(c jetstream.StreamConfig) bool { return strings.HasPrefix(c.Name, "KV_") }

func consumerFields(have, want jetstream.ConsumerConfig) []field {
	fs := []field{
		{"filter", show(filters(have)), show(filters(want)), false},
		{"deliver policy", show(have.DeliverPolicy), show(want.DeliverPolicy), false},
		{"ack policy", show(have.AckPolicy), show(want.AckPolicy), false},
		{"max deliver", limit(int64(have.MaxDeliver)), limit(int64(want.MaxDeliver)), false},
		{"back-off", show(have.BackOff), show(want.BackOff), false},
		{"max ack pending", limit(int64(have.MaxAckPending)), limit(int64(want.MaxAckPending)), want.MaxAckPending > 0},
		{"headers only", show(have.HeadersOnly), show(want.HeadersOnly), false},
		{"deliver subject", show(have.DeliverSubject), show(want.DeliverSubject), false},
		{"priority policy", show(have.PriorityPolicy), show(want.PriorityPolicy), false},
		{"max request batch", limit(int64(have.MaxRequestBatch)), limit(int64(want.MaxRequestBatch)), false},
		{"max request expires", age(have.MaxRequestExpires), age(want.MaxRequestExpires), false},
		{"inactive threshold", age(have.InactiveThreshold), age(want.InactiveThreshold), false},
		// Too short an ack wait delivers what is still being polled; a longer one only slows recovery.
		{"ack wait", show(have.AckWait), show(want.AckWait), have.AckWait >= want.AckWait},
	}
	if len(have.BackOff) > 0 {
		// The broker then derives the ack wait from it: saying so twice would not help.
		fs = fs[:len(fs)-1]
	}
	return fs
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}

func differences(object string, fields []field) []Difference {
	var ds []Difference
	for _, f := range fields {
		if f.have != f.want {
			ds = append(ds, Difference{Object: object, Field: f.name, Have: f.have, Want: f.want, Choice: f.choice})
		}
	}
	return ds
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
			ds = append(ds, differences(streamName(s.Name), streamFields(have.CachedInfo().Config, s))...)
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
			ds = append(ds, differences(object, consumerFields(have.CachedInfo().Config, c.Config))...)
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
		if _, err := js.UpdateStream(ctx, overStream(have.CachedInfo().Config, s)); err != nil {
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
		if _, err := js.UpdateConsumer(ctx, c.Stream, overConsumer(have.CachedInfo().Config, c.Config)); err != nil {
			return changed, fmt.Errorf("updating %s: %w", object, err)
		}
		changed = append(changed, object)
	}
	return changed, nil
}

// overStream lays what is compared over what there is: what is not compared (placement, compression, metadata, the
// duplicate window) is the operator's.
func overStream(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	have.Description = want.Description
	have.Subjects, have.Retention, have.Discard = want.Subjects, want.Retention, want.Discard
	have.DiscardNewPerSubject, have.MaxMsgsPerSubject = want.DiscardNewPerSubject, want.MaxMsgsPerSubject
	have.AllowMsgSchedules, have.AllowDirect, have.NoAck, have.Sealed = want.AllowMsgSchedules, want.AllowDirect, want.NoAck, want.Sealed
	have.Mirror, have.Sources, have.SubjectTransform = want.Mirror, want.Sources, want.SubjectTransform
	have.MaxAge, have.MaxMsgs, have.MaxBytes, have.MaxMsgSize = want.MaxAge, want.MaxMsgs, want.MaxBytes, want.MaxMsgSize
	have.Storage, have.Replicas = want.Storage, want.Replicas
	if have.MaxAge > 0 { // the broker takes no longer window
		have.Duplicates = min(have.Duplicates, have.MaxAge)
	}
	return have
}

// overConsumer does the same for a consumer.
func overConsumer(have, want jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	have.FilterSubject, have.FilterSubjects = want.FilterSubject, want.FilterSubjects
	have.DeliverPolicy, have.AckPolicy, have.MaxDeliver = want.DeliverPolicy, want.AckPolicy, want.MaxDeliver
	have.BackOff, have.MaxAckPending, have.AckWait = want.BackOff, want.MaxAckPending, want.AckWait
	have.HeadersOnly, have.InactiveThreshold = want.HeadersOnly, want.InactiveThreshold
	have.MaxRequestBatch, have.MaxRequestExpires = want.MaxRequestBatch, want.MaxRequestExpires
	have.DeliverSubject, have.PriorityPolicy, have.PriorityGroups = want.DeliverSubject, want.PriorityPolicy, want.PriorityGroups
	return have
}
