package consumer

import (
	"context"
	"time"

	"statusworker/schema/broker"
)

// Broker is the operations of [broker.Broker] that a worker uses. Every error is a [*broker.Error].
type Broker interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	Puller(stream, consumer string) broker.Puller

	Last(ctx context.Context, stream, subjects string) (broker.Message, error)
	Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error)
	Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error)
	Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error)
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
	Consumer(ctx context.Context, stream, consumer string) (broker.ConsumerState, error)

	Ack(d broker.Delivery) error
	AckConfirmed(ctx context.Context, d broker.Delivery) error
	Nak(d broker.Delivery, delay time.Duration) error
	InProgress(d broker.Delivery) error
	Claim(stream, consumer string, m broker.Message) broker.Delivery
}
