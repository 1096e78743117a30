package adapter

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
	"statusworker/schema/broker"
)

const (
	// readAhead is how many messages are requested at once; with the largest dead letters they take some 20 MB.
	readAhead = 100
	// silence is how long the broker may send nothing before the scan checks whether messages are left.
	silence = 2 * time.Second
)

// Scan implements [broker.Broker].
func (b *Broker) Scan(ctx context.Context, stream string, r broker.Range, do func(broker.Message) error) error {
	state, err := b.Stream(ctx, stream)
	if err != nil {
		return err
	}
	var ended error // of do
	err = permission.Guard(ctx, b.nc, func(ctx context.Context) error {
		return b.scan(ctx, stream, r, state.Last, func(m broker.Message) error {
			ended = do(m)
			return ended
		})
	}, append(b.reading(stream), b.api.Subjects("CONSUMER.MSG.NEXT", stream, "*")...)...)
	switch {
	case ended != nil:
		return ended
	case err == nil:
		return nil
	}
	e := failed("scan", stream, err)
	if errors.Is(e, broker.ErrConsumerNotFound) {
		e.Kind = broker.ErrNoAnswer // the scan's own consumer: the caller may scan again
	}
	return e
}

// Count implements [broker.Broker]. It creates a consumer in memory, reads how many messages it has, and deletes it.
func (b *Broker) Count(ctx context.Context, stream string, r broker.Range) (uint64, error) {
	var consumer jetstream.Consumer
	var n uint64
	_, err := ask(ctx, b, "count", stream, func(ctx context.Context) (_ any, err error) {
		consumer, n, err = b.reader(ctx, stream, r)
		return nil, err
	}, b.reading(stream)...)
	if err != nil {
		return 0, err
	}
	b.forget(stream, consumer)
	return n, nil
}

// reading are the subjects of the requests of reader.
func (b *Broker) reading(stream string) []string {
	return slices.Concat(b.api.Subjects("CONSUMER.CREATE", stream), b.api.Subjects("CONSUMER.CREATE", stream, ">"),
		b.api.Subjects("CONSUMER.INFO", stream, "*"))
}

// scan reads messages up to the sequence last.
func (b *Broker) scan(
	ctx context.Context, stream string, r broker.Range, last uint64, do func(broker.Message) error,
) error {
	consumer, left, err := b.reader(ctx, stream, r)
	if err != nil || left == 0 {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return err
	}
	defer func() {
		messages.Stop()
		b.forget(stream, consumer)
	}()
	for ctx.Err() == nil {
		msg, err := messages.Next(jetstream.NextMaxWait(silence))
		if errors.Is(err, nats.ErrTimeout) {
			// The remaining messages were deleted or lost in transit; only a new consumer knows which.
			if _, left, err := b.reader(ctx, stream, r); err == nil && left == 0 {
				return nil
			}
		}
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream > last {
			return nil // stored after the scan began
		}
		r.From, r.Since = meta.Sequence.Stream+1, time.Time{}
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
	return ctx.Err()
}

// forget deletes the consumer of a scan. If that fails, the broker deletes it a minute later.
func (b *Broker) forget(stream string, consumer jetstream.Consumer) {
	info := consumer.CachedInfo()
	if info == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), silence)
	defer cancel()
	_ = permission.Guard(ctx, b.nc, func(ctx context.Context) error {
		return b.js.DeleteConsumer(ctx, stream, info.Name)
	}, b.api.Subjects("CONSUMER.DELETE", stream, info.Name)...)
}

// reader creates a consumer that reads a range, and returns how many messages the range has.
func (b *Broker) reader(ctx context.Context, stream string, r broker.Range) (jetstream.Consumer, uint64, error) {
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
	consumer, err := b.js.OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return nil, 0, err
	}
	if info := consumer.CachedInfo(); info != nil {
		return consumer, info.NumPending, nil
	}
	return consumer, 0, nil
}
