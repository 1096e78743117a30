// Package adapter implements [broker.Broker] with nats.go, over an existing connection to existing streams and
// consumers. It translates types and errors, and pulls batches over one long-lived subscription, which nats.go does not
// offer.
//
// The package is under cmd because the program chooses its broker, and outside internal because tests of consumer and
// publisher import it.
package adapter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/api"
	"statusworker/cmd/broker/permission"
	"statusworker/schema/broker"
)

// Broker is a client of NATS with JetStream. Its methods are safe for concurrent use.
type Broker struct {
	js      jetstream.JetStream
	nc      *nats.Conn
	denials permission.Recorder
	api     api.Prefix
	// streams and leaders have handles by name, because creating one takes a request. Reads use leaders; see keep.
	streams, leaders sync.Map
}

var _ broker.Broker = (*Broker)(nil)

// New returns a broker that uses the connection of js. It sends no request.
func New(js jetstream.JetStream) *Broker {
	return &Broker{js: js, nc: js.Conn(), denials: permission.Of(js.Conn()), api: api.Of(js)}
}

// Publish implements [broker.Broker]. A denied publish fails only when ctx ends: detecting the violation earlier would
// cost allocations at every poll.
func (b *Broker) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	mark := b.denials.Begin()
	subject := b.api.Published(p.Subject)
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: nats.Header(p.WireHeader()), Data: p.Data})
	if err != nil {
		return broker.Ack{}, failed("publish", p.Subject, mark.Explain(err, p.Subject, subject))
	}
	return broker.Ack{Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// Last implements [broker.Broker].
func (b *Broker) Last(ctx context.Context, stream, subjects string) (broker.Message, error) {
	return b.read(ctx, "last", stream, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, subjects)
	})
}

// Get implements [broker.Broker].
func (b *Broker) Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error) {
	return b.read(ctx, "get", stream, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, sequence)
	})
}

// Next implements [broker.Broker].
func (b *Broker) Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error) {
	return b.read(ctx, "next", stream, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, max(from, 1), jetstream.WithGetMsgSubject(subjects))
	})
}

func (b *Broker) read(
	ctx context.Context, op, stream string,
	get func(context.Context, jetstream.Stream) (*jetstream.RawStreamMsg, error),
) (broker.Message, error) {
	s, err := b.leader(ctx, op, stream)
	if err != nil {
		return broker.Message{}, err
	}
	m, err := ask(ctx, b, op, stream, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return get(ctx, s) },
		b.api.Subjects("STREAM.MSG.GET", stream)...)
	if err != nil {
		return broker.Message{}, err
	}
	return broker.Message{Subject: m.Subject, Header: broker.Header(m.Header), Data: m.Data, Sequence: m.Sequence,
		Time: m.Time}, nil
}

// Subjects implements [broker.Broker].
func (b *Broker) Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	var s jetstream.Stream
	if known, ok := b.streams.Load(stream); ok {
		s = known.(jetstream.Stream)
	} else {
		opened, err := b.open(ctx, "subjects", stream)
		if err != nil {
			return nil, err
		}
		s = opened
		b.streams.Store(stream, s)
	}
	info, err := ask(ctx, b, "subjects", stream, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		return s.Info(ctx, jetstream.WithSubjectFilter(filter))
	}, b.api.Subjects("STREAM.INFO", stream)...)
	if err != nil {
		return nil, err
	}
	if info.State.Subjects == nil {
		return map[string]uint64{}, nil
	}
	return info.State.Subjects, nil
}

// Delete implements [broker.Broker].
func (b *Broker) Delete(ctx context.Context, stream string, sequence uint64) error {
	s, err := b.leader(ctx, "delete", stream)
	if err != nil {
		return err
	}
	_, err = ask(ctx, b, "delete", stream, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.DeleteMsg(ctx, sequence)
	}, b.api.Subjects("STREAM.MSG.DELETE", stream)...)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		// The broker returns the same error for a missing message and for a message that it cannot delete.
		var unread *broker.Error
		if _, err := b.Get(ctx, stream, sequence); errors.As(err, &unread) {
			return &broker.Error{Op: "delete", Object: stream, Kind: unread.Kind, Cause: unread.Cause}
		}
	}
	return err
}

// Stream implements [broker.Broker].
func (b *Broker) Stream(ctx context.Context, stream string) (broker.StreamState, error) {
	s, err := b.open(ctx, "stream", stream)
	if err != nil {
		return broker.StreamState{}, err
	}
	info := s.CachedInfo()
	state := broker.StreamState{
		Messages: info.State.Msgs, Bytes: info.State.Bytes, First: info.State.FirstSeq, Last: info.State.LastSeq,
		MaxBytes: max(0, info.Config.MaxBytes), Consumers: info.State.Consumers, DirectGets: info.Config.AllowDirect,
		AtomicBatches: info.Config.AllowAtomicPublish, Now: info.TimeStamp,
	}
	// A single server has no cluster name. Without a configured name of its own, it gets another one at each start.
	if info.Cluster != nil && info.Cluster.Name != "" {
		state.Leader = info.Cluster.Leader
	}
	if state.Messages > 0 {
		state.FirstTime = info.State.FirstTime
	} else {
		state.First = state.Last + 1
	}
	b.keep(stream, s)
	return state, nil
}

// Consumer implements [broker.Broker].
func (b *Broker) Consumer(ctx context.Context, stream, consumer string) (broker.ConsumerState, error) {
	object := stream + "/" + consumer
	c, err := ask(ctx, b, "consumer", object, func(ctx context.Context) (jetstream.Consumer, error) {
		return b.js.Consumer(ctx, stream, consumer)
	}, b.api.Subjects("CONSUMER.INFO", stream, consumer)...)
	if err != nil {
		return broker.ConsumerState{}, err
	}
	info := c.CachedInfo()
	state := broker.ConsumerState{
		Pending: info.NumPending, AckPending: uint64(info.NumAckPending), Delivered: info.Delivered.Stream,
		AckFloor: info.AckFloor.Stream, AckWait: info.Config.AckWait, Now: info.TimeStamp,
	}
	if info.Paused {
		state.PausedUntil = info.TimeStamp.Add(info.PauseRemaining)
	}
	return state, nil
}

// The payloads that settle a delivery, published to its reply subject.
var (
	wireAck      = []byte("+ACK")
	wireNak      = []byte("-NAK")
	wireProgress = []byte("+WPI")
)

// Ack implements [broker.Broker].
func (b *Broker) Ack(d broker.Delivery) error { return b.settle("ack", d, wireAck) }

// AckConfirmed implements [broker.Broker].
func (b *Broker) AckConfirmed(ctx context.Context, d broker.Delivery) error {
	if _, err := permission.RequestWithContext(ctx, b.nc, d.Token, wireAck); err != nil {
		return failed("ack", d.Subject, err)
	}
	return nil
}

// Nak implements [broker.Broker].
func (b *Broker) Nak(d broker.Delivery, delay time.Duration) error {
	if delay <= 0 {
		return b.settle("nak", d, wireNak)
	}
	how := append(make([]byte, 0, 40), `-NAK {"delay": `...)
	how = append(strconv.AppendInt(how, delay.Nanoseconds(), 10), '}')
	return b.settle("nak", d, how)
}

// InProgress implements [broker.Broker].
func (b *Broker) InProgress(d broker.Delivery) error { return b.settle("in-progress", d, wireProgress) }

func (b *Broker) settle(op string, d broker.Delivery, how []byte) error {
	if err := b.nc.Publish(d.Token, how); err != nil {
		return failed(op, d.Subject, err)
	}
	return nil
}

// Claim implements [broker.Broker]. nats-server deletes a message of a work queue when it gets an acknowledgement,
// also if the consumer has no such message in flight (consumer.go, processAckMsg). It then uses no other field of the
// acknowledgement's subject.
func (b *Broker) Claim(stream, consumer string, m broker.Message) broker.Delivery {
	return broker.Delivery{
		Message: m, Stream: stream, Consumer: consumer, Count: 2,
		Token: fmt.Sprintf("$JS.ACK.%s.%s.1.%d.1.%d.0", stream, consumer, m.Sequence, m.Time.UnixNano()),
	}
}

// ask makes a request. The subjects are those by which a permissions violation may name the request. If the user may
// not publish the request, ask fails as soon as the violation is known: the broker does not answer such a request.
func ask[T any](
	ctx context.Context, b *Broker, op, object string, do func(context.Context) (T, error), subjects ...string,
) (got T, err error) {
	err = permission.Guard(ctx, b.nc, func(ctx context.Context) (err error) {
		got, err = do(ctx)
		return err
	}, subjects...)
	if err != nil {
		return got, failed(op, object, err)
	}
	return got, nil
}

// leader returns a handle that reads from the leader. Only the first call for a stream sends a request.
func (b *Broker) leader(ctx context.Context, op, stream string) (jetstream.Stream, error) {
	if s, ok := b.leaders.Load(stream); ok {
		return s.(jetstream.Stream), nil
	}
	s, err := b.open(ctx, op, stream)
	if err != nil {
		return nil, err
	}
	return b.keep(stream, s), nil
}

// keep stores a handle that reads from the leader even if direct gets are allowed: nats.go decides that by the
// configuration in the handle. No caller may use it to read the state of the stream, which would update the
// configuration.
func (b *Broker) keep(stream string, s jetstream.Stream) jetstream.Stream {
	s.CachedInfo().Config.AllowDirect = false
	kept, _ := b.leaders.LoadOrStore(stream, s)
	return kept.(jetstream.Stream)
}

// open reads a stream.
func (b *Broker) open(ctx context.Context, op, stream string) (jetstream.Stream, error) {
	return ask(ctx, b, op, stream, func(ctx context.Context) (jetstream.Stream, error) {
		return b.js.Stream(ctx, stream)
	}, b.api.Subjects("STREAM.INFO", stream)...)
}
