package consumer

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/schema/broker"
)

// shim gives parts of the worker what they need of the broker, until the worker has a [broker.Broker] itself.
type shim struct {
	js      jetstream.JetStream
	handles sync.Map
}

// Stream is for package clock: it gives the time only.
func (s *shim) Stream(ctx context.Context, stream string) (broker.StreamState, error) {
	info, err := s.info(ctx, stream)
	if err != nil {
		return broker.StreamState{}, err
	}
	return broker.StreamState{Now: info.TimeStamp}, nil
}

// Subjects is for package fleet, as is Publish.
func (s *shim) Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	info, err := s.info(ctx, stream, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, err
	}
	return info.State.Subjects, nil
}

func (s *shim) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	_, err := s.js.Publish(ctx, p.Subject, p.Data)
	return broker.Ack{}, failed("publish", p.Subject, err)
}

func (s *shim) info(ctx context.Context, stream string, o ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	handle, ok := s.handles.Load(stream)
	if !ok {
		made, err := s.js.Stream(ctx, stream)
		if err != nil {
			return nil, failed("stream", stream, err)
		}
		s.handles.Store(stream, made)
		handle = made
	}
	info, err := handle.(jetstream.Stream).Info(ctx, o...)
	return info, failed("stream", stream, err)
}

func failed(op, object string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrConnectionClosed):
		return &broker.Error{Op: op, Object: object, Kind: broker.ErrClosed, Cause: err}
	}
	return &broker.Error{Op: op, Object: object, Cause: err}
}
