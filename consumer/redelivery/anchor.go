package redelivery

import (
	"context"
	"errors"
	"slices"

	"statusworker/schema"
	"statusworker/schema/broker"
)

// The anchor is a message that stays in the polls stream, because no consumer has a filter that matches its subject.
// nats-server 2.15.3 and earlier (`fileStore.LoadNextMsg`) look at all subjects of a consumer if it may read the
// stream's first message. Without an anchor that happens at nearly every pull while a backlog drains, because the
// stream then begins with due messages.

// AnchorText is the body of the anchor. Nothing reads it.
const AnchorText = "statusworker keeps this message before all others of the stream, so that a backlog drains quickly"

// ErrAnchorSubject means that the polls stream does not accept the subject of the anchor.
var ErrAnchorSubject = errors.New("stream " + schema.StreamPolls + " does not accept the subject " +
	schema.SubjectAnchor)

// AnchorBroker is what [KeepAnchor] asks of the broker.
type AnchorBroker interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	Last(ctx context.Context, stream, subjects string) (broker.Message, error)
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
}

// KeepAnchor stores the anchor if it is missing, on the condition that no one else did. An anchor that is stored again
// is the last message of the stream. It becomes the first when the messages before it have been polled once.
func KeepAnchor(ctx context.Context, b AnchorBroker) (stored bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	_, err = b.Last(ctx, schema.StreamPolls, schema.SubjectAnchor)
	if !errors.Is(err, broker.ErrNotFound) {
		return false, err
	}
	state, err := b.Stream(ctx, schema.StreamPolls)
	if err != nil {
		return false, err
	}
	if !slices.Contains(state.Subjects, schema.SubjectAnchor) {
		return false, ErrAnchorSubject
	}
	_, err = b.Publish(ctx, broker.Publication{
		Subject: schema.SubjectAnchor, Data: []byte(AnchorText), If: broker.Condition{Subjects: schema.SubjectAnchor},
	})
	if errors.Is(err, broker.ErrRefused) {
		return false, nil // another worker stored it
	}
	return err == nil, err
}
