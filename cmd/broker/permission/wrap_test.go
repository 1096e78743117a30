package permission_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/broker/permission"
)

// Every request is published to one of the subjects that its guard watches; otherwise no violation would match.
func TestWrapKnowsTheSubjects(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	var sent []string
	trace := &jetstream.ClientTrace{RequestSent: func(subject string, _ []byte) { sent = append(sent, subject) }}
	js, err := jetstream.New(nc, jetstream.WithClientTrace(trace))
	if err != nil {
		t.Fatal(err)
	}
	var asked []permission.Request
	ask := func(ctx context.Context, r permission.Request, do func(context.Context) error) error {
		asked = append(asked, r)
		return do(ctx)
	}
	wrapped := permission.Wrap(js, ask)
	ctx := t.Context()
	var stream jetstream.Stream
	consumer := jetstream.ConsumerConfig{Durable: "c", FilterSubject: "s.one"}
	for _, one := range []struct {
		what    string
		changes bool
		do      func() error
	}{
		{"create a stream", true, func() error {
			_, err := wrapped.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}})
			return err
		}},
		{"update a stream", true, func() (err error) {
			cfg := jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, Description: "d"}
			stream, err = wrapped.UpdateStream(ctx, cfg)
			return err
		}},
		{"read a stream", false, func() (err error) { stream, err = wrapped.Stream(ctx, "S"); return err }},
		{"find a stream", false, func() error { _, err := wrapped.StreamNameBySubject(ctx, "s.one"); return err }},
		{"create a consumer", true, func() error { _, err := wrapped.CreateConsumer(ctx, "S", consumer); return err }},
		{"update a consumer", true, func() error { _, err := wrapped.UpdateConsumer(ctx, "S", consumer); return err }},
		{"read a consumer", false, func() error { _, err := wrapped.Consumer(ctx, "S", "c"); return err }},
		{"delete a consumer", true, func() error { return wrapped.DeleteConsumer(ctx, "S", "c") }},
		{"read a stream again", false, func() error { _, err := stream.Info(ctx); return err }},
		{"read a message", false, func() error {
			if _, err := js.Publish(ctx, "s.one", nil); err != nil {
				return err
			}
			_, err := stream.GetMsg(ctx, 1)
			return err
		}},
		{"read the last message", false, func() error {
			_, err := stream.GetLastMsgForSubject(ctx, "s.one")
			return err
		}},
		{"delete a message", true, func() error { return stream.DeleteMsg(ctx, 1) }},
	} {
		sent, asked = nil, nil
		if err := one.do(); err != nil {
			t.Fatalf("%s: %v", one.what, err)
		}
		if len(asked) != 1 || asked[0].Changes != one.changes || len(sent) != 1 {
			t.Errorf("%s: Ask got %v, sent to %v", one.what, asked, sent)
			continue
		}
		known := false
		for _, pattern := range asked[0].Subjects {
			known = known || server.SubjectMatchesFilter(sent[0], pattern)
		}
		if !known {
			t.Errorf("%s: Ask got %v, sent to %s", one.what, asked[0].Subjects, sent[0])
		}
	}
	if _, err := wrapped.Stream(ctx, "N"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a missing stream: %v", err)
	}
}
