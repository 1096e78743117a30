package adapter

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/broker"
)

const (
	// readAhead bounds what the broker sends before it was asked for: with the largest dead letters some 20 MB.
	readAhead = 100
	// silence is how long the broker may send nothing before it is asked what is left.
	silence = 2 * time.Second
)

// Scan implements [broker.Broker].
func (b *Broker) Scan(ctx context.Context, stream string, r broker.Range, do func(broker.Message) error) error {
	state, err := b.Stream(ctx, stream)
	if err != nil {
		return err
	}
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects: r.Subjects, DeliverPolicy: jetstream.DeliverAllPolicy, MaxResetAttempts: 1,
		InactiveThreshold: time.Minute,
	}
	switch {
	case r.From > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.From
	case !r.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.Since
	}
	failed := func(err error) error { return b.failed("scan", stream, err, api("CONSUMER.CREATE", stream)) }
	consumer, err := b.js.OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return failed(err)
	}
	if info := consumer.CachedInfo(); info == nil || info.NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return failed(err)
	}
	defer messages.Stop()
	for ctx.Err() == nil {
		msg, err := messages.Next(jetstream.NextMaxWait(silence))
		if errors.Is(err, nats.ErrTimeout) {
			// What was left may have been deleted meanwhile.
			if info, err := consumer.Info(ctx); err == nil && info.NumPending == 0 {
				return nil
			}
		}
		if err != nil {
			return failed(err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return failed(err)
		}
		if meta.Sequence.Stream > state.Last {
			return nil // stored since
		}
		m := broker.Message{
			Subject: msg.Subject(), Header: broker.Header(msg.Headers()), Data: msg.Data(),
			Sequence: meta.Sequence.Stream, Time: meta.Timestamp,
		}
		if err := do(m); err != nil {
			return err
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
	return failed(ctx.Err())
}
