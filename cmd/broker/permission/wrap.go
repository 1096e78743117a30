package permission

import (
	"context"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/api"
)

// Request is one request to JetStream.
type Request struct {
	// Subjects are the subjects by which a violation may name it; they may have wildcards.
	Subjects []string
	// Changes is true if it creates, updates or deletes something.
	Changes bool
}

// Ask makes a request by calling do. It may call do again after an error.
type Ask func(ctx context.Context, r Request, do func(context.Context) error) error

// Guarded returns an Ask that makes each request in a [Guard].
func Guarded(nc *nats.Conn) Ask {
	return func(ctx context.Context, r Request, do func(context.Context) error) error {
		return Guard(ctx, nc, do, r.Subjects...)
	}
}

// Wrap returns a JetStream that uses ask for each request for a stream, consumer or message. The streams that it
// returns do the same. Publishing, pulling and listing are those of js.
func Wrap(js jetstream.JetStream, ask Ask) jetstream.JetStream { return &asking{js, ask, api.Of(js)} }

type asking struct {
	jetstream.JetStream
	ask Ask
	api api.Prefix
}

func reads(subjects ...string) Request { return Request{Subjects: subjects} }

func changes(subjects ...string) Request { return Request{Subjects: subjects, Changes: true} }

// get makes a request that returns a value.
func get[T any](ctx context.Context, ask Ask, r Request, do func(context.Context) (T, error)) (T, error) {
	var got T
	err := ask(ctx, r, func(ctx context.Context) (err error) {
		got, err = do(ctx)
		return err
	})
	return got, err
}

func (a *asking) stream(
	ctx context.Context, r Request, do func(context.Context) (jetstream.Stream, error),
) (jetstream.Stream, error) {
	s, err := get(ctx, a.ask, r, do)
	if err != nil {
		return nil, err
	}
	return &askingStream{s, a.ask, a.api}, nil
}

func (a *asking) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	r := reads(a.api.Subjects("STREAM.INFO", name)...)
	return a.stream(ctx, r, func(ctx context.Context) (jetstream.Stream, error) {
		return a.JetStream.Stream(ctx, name)
	})
}

func (a *asking) CreateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	r := changes(a.api.Subjects("STREAM.CREATE", cfg.Name)...)
	return a.stream(ctx, r, func(ctx context.Context) (jetstream.Stream, error) {
		return a.JetStream.CreateStream(ctx, cfg)
	})
}

func (a *asking) UpdateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	r := changes(a.api.Subjects("STREAM.UPDATE", cfg.Name)...)
	return a.stream(ctx, r, func(ctx context.Context) (jetstream.Stream, error) {
		return a.JetStream.UpdateStream(ctx, cfg)
	})
}

func (a *asking) StreamNameBySubject(ctx context.Context, subject string) (string, error) {
	return get(ctx, a.ask, reads(a.api.Subjects("STREAM.NAMES")...), func(ctx context.Context) (string, error) {
		return a.JetStream.StreamNameBySubject(ctx, subject)
	})
}

func (a *asking) AccountInfo(ctx context.Context) (*jetstream.AccountInfo, error) {
	return get(ctx, a.ask, reads(a.api.Subjects("INFO")...), a.JetStream.AccountInfo)
}

func (a *asking) Consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	r := reads(a.api.Subjects("CONSUMER.INFO", stream, name)...)
	return get(ctx, a.ask, r, func(ctx context.Context) (jetstream.Consumer, error) {
		return a.JetStream.Consumer(ctx, stream, name)
	})
}

func (a *asking) CreateConsumer(
	ctx context.Context, stream string, cfg jetstream.ConsumerConfig,
) (jetstream.Consumer, error) {
	return get(ctx, a.ask, changes(a.creating(stream)...), func(ctx context.Context) (jetstream.Consumer, error) {
		return a.JetStream.CreateConsumer(ctx, stream, cfg)
	})
}

func (a *asking) UpdateConsumer(
	ctx context.Context, stream string, cfg jetstream.ConsumerConfig,
) (jetstream.Consumer, error) {
	return get(ctx, a.ask, changes(a.creating(stream)...), func(ctx context.Context) (jetstream.Consumer, error) {
		return a.JetStream.UpdateConsumer(ctx, stream, cfg)
	})
}

// creating are the subjects for creating and updating consumers of a stream. The rest of the subject is the consumer's
// name and filter.
func (a *asking) creating(stream string) []string {
	return append(a.api.Subjects("CONSUMER.CREATE", stream), a.api.Subjects("CONSUMER.CREATE", stream, ">")...)
}

func (a *asking) DeleteConsumer(ctx context.Context, stream, name string) error {
	r := changes(a.api.Subjects("CONSUMER.DELETE", stream, name)...)
	return a.ask(ctx, r, func(ctx context.Context) error { return a.JetStream.DeleteConsumer(ctx, stream, name) })
}

// askingStream is a stream of an asking JetStream.
type askingStream struct {
	jetstream.Stream
	ask Ask
	api api.Prefix
}

func (s *askingStream) name() string { return s.CachedInfo().Config.Name }

func (s *askingStream) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	r := reads(s.api.Subjects("STREAM.INFO", s.name())...)
	return get(ctx, s.ask, r, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		return s.Stream.Info(ctx, opts...)
	})
}

// reading are the subjects for reading messages, directly or from the leader.
func (s *askingStream) reading() Request {
	return reads(slices.Concat(s.api.Subjects("STREAM.MSG.GET", s.name()), s.api.Subjects("DIRECT.GET", s.name()),
		s.api.Subjects("DIRECT.GET", s.name(), ">"))...)
}

func (s *askingStream) GetMsg(
	ctx context.Context, sequence uint64, opts ...jetstream.GetMsgOpt,
) (*jetstream.RawStreamMsg, error) {
	return get(ctx, s.ask, s.reading(), func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.Stream.GetMsg(ctx, sequence, opts...)
	})
}

func (s *askingStream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return get(ctx, s.ask, s.reading(), func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.Stream.GetLastMsgForSubject(ctx, subject)
	})
}

func (s *askingStream) DeleteMsg(ctx context.Context, sequence uint64) error {
	return s.ask(ctx, changes(s.api.Subjects("STREAM.MSG.DELETE", s.name())...), func(ctx context.Context) error {
		return s.Stream.DeleteMsg(ctx, sequence)
	})
}

// RequestWithContext makes one request in a [Guard]. A violation may also name it by the other subjects.
func RequestWithContext(
	ctx context.Context, nc *nats.Conn, subject string, data []byte, others ...string,
) (*nats.Msg, error) {
	r := reads(append([]string{subject}, others...)...)
	return get(ctx, Guarded(nc), r, func(ctx context.Context) (*nats.Msg, error) {
		return nc.RequestWithContext(ctx, subject, data)
	})
}

// RequestAPI makes one request to the JetStream API in a [Guard].
func RequestAPI(
	ctx context.Context, js jetstream.JetStream, data []byte, what string, of ...string,
) (*nats.Msg, error) {
	subjects := api.Of(js).Subjects(what, of...)
	return RequestWithContext(ctx, js.Conn(), subjects[0], data, subjects[1:]...)
}
