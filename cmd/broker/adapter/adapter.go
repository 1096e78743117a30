// Package adapter is the one place that speaks nats.go for the rules: it implements [broker.Broker] on a connection
// that somebody else has made. It adds nothing but the translation of nouns and errors, and the pulling of batches over
// one subscription, which nats.go does not offer. Streams and consumers must be there.
//
// It lies under cmd, because what talks to a broker is a choice of the program, and outside internal, because tests of
// consumer and publisher may run on it.
package adapter

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/broker"
)

// Broker is a NATS server with JetStream. It is safe for concurrent use.
type Broker struct {
	js jetstream.JetStream
	nc *nats.Conn
	// streams are handles by name. A handle costs a request, and says no more than whether direct gets are allowed.
	streams sync.Map
}

var _ broker.Broker = (*Broker)(nil)

// New makes the broker of a connection. It asks nothing yet.
func New(js jetstream.JetStream) *Broker { return &Broker{js: js, nc: js.Conn()} }

// Publish implements [broker.Broker].
func (b *Broker) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: p.Subject, Header: nats.Header(p.WireHeader()), Data: p.Data})
	if err != nil {
		return broker.Ack{}, b.failed("publish", p.Subject, err, p.Subject)
	}
	return broker.Ack{Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// Last implements [broker.Broker].
func (b *Broker) Last(ctx context.Context, stream, subjects string) (broker.Message, error) {
	return b.read(ctx, "last", stream, func(s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, subjects)
	})
}

// Get implements [broker.Broker].
func (b *Broker) Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error) {
	return b.read(ctx, "get", stream, func(s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, sequence)
	})
}

// Next implements [broker.Broker].
func (b *Broker) Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error) {
	return b.read(ctx, "next", stream, func(s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, max(from, 1), jetstream.WithGetMsgSubject(subjects))
	})
}

func (b *Broker) read(ctx context.Context, op, stream string, get func(jetstream.Stream) (*jetstream.RawStreamMsg,
	error)) (broker.Message, error) {
	s, err := b.handle(ctx, op, stream)
	if err != nil {
		return broker.Message{}, err
	}
	m, err := get(s)
	if err != nil {
		return broker.Message{}, b.failed(op, stream, err, api("STREAM.MSG.GET", stream))
	}
	return broker.Message{Subject: m.Subject, Header: broker.Header(m.Header), Data: m.Data, Sequence: m.Sequence,
		Time: m.Time}, nil
}

// Subjects implements [broker.Broker].
func (b *Broker) Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	s, err := b.handle(ctx, "subjects", stream)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, b.failed("subjects", stream, err, api("STREAM.INFO", stream))
	}
	if info.State.Subjects == nil {
		return map[string]uint64{}, nil
	}
	return info.State.Subjects, nil
}

// Delete implements [broker.Broker].
func (b *Broker) Delete(ctx context.Context, stream string, sequence uint64) error {
	s, err := b.handle(ctx, "delete", stream)
	if err != nil {
		return err
	}
	err = s.DeleteMsg(ctx, sequence)
	if err == nil {
		return nil
	}
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		// The broker has one error for a message that is not there, and for one that it cannot delete.
		if _, absent := b.Get(ctx, stream, sequence); errors.Is(absent, broker.ErrNotFound) {
			return &broker.Error{Op: "delete", Object: stream, Kind: broker.ErrNotFound, Cause: err}
		}
	}
	return b.failed("delete", stream, err, api("STREAM.MSG.DELETE", stream))
}

// Stream implements [broker.Broker].
func (b *Broker) Stream(ctx context.Context, stream string) (broker.StreamState, error) {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return broker.StreamState{}, b.failed("stream", stream, err, api("STREAM.INFO", stream))
	}
	info := s.CachedInfo()
	state := broker.StreamState{
		Messages: info.State.Msgs, Bytes: info.State.Bytes, First: info.State.FirstSeq, Last: info.State.LastSeq,
		Consumers: info.State.Consumers, Now: info.TimeStamp,
	}
	if state.Messages > 0 {
		state.FirstTime = info.State.FirstTime
	} else {
		state.First = state.Last + 1
	}
	return state, nil
}

// Consumer implements [broker.Broker].
func (b *Broker) Consumer(ctx context.Context, stream, consumer string) (broker.ConsumerState, error) {
	object := stream + "/" + consumer
	c, err := b.js.Consumer(ctx, stream, consumer)
	if err != nil {
		return broker.ConsumerState{}, b.failed("consumer", object, err, api("CONSUMER.INFO", stream, consumer))
	}
	info := c.CachedInfo()
	state := broker.ConsumerState{
		Pending: info.NumPending, AckPending: uint64(info.NumAckPending), AckWait: info.Config.AckWait,
		Now: info.TimeStamp,
	}
	if info.Paused {
		state.PausedUntil = info.TimeStamp.Add(info.PauseRemaining)
	}
	return state, nil
}

// What settles a delivery is a message to the subject that it came with.
var (
	wireAck      = []byte("+ACK")
	wireNak      = []byte("-NAK")
	wireProgress = []byte("+WPI")
)

// Ack implements [broker.Broker].
func (b *Broker) Ack(d broker.Delivery) error { return b.settle("ack", d, wireAck) }

// AckConfirmed implements [broker.Broker].
func (b *Broker) AckConfirmed(ctx context.Context, d broker.Delivery) error {
	if _, err := b.nc.RequestWithContext(ctx, d.Token, wireAck); err != nil {
		return b.failed("ack", d.Subject, err, d.Token)
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
		return b.failed(op, d.Subject, err, d.Token)
	}
	return nil
}

func (b *Broker) handle(ctx context.Context, op, stream string) (jetstream.Stream, error) {
	if s, ok := b.streams.Load(stream); ok {
		return s.(jetstream.Stream), nil
	}
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return nil, b.failed(op, stream, err, api("STREAM.INFO", stream))
	}
	b.streams.Store(stream, s)
	return s, nil
}
