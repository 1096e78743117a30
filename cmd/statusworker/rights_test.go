package main

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/connect"
	"statusworker/schema"
)

// A missing permission ends the wait only if it concerns the pending request.
func TestMissingPermissionOfAnotherRequest(t *testing.T) {
	t.Parallel()
	at := users(t, unchanged)
	command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	nc, err := nats.Connect(
		at,
		nats.UserInfo("status", userPassword),
		nats.CustomInboxPrefix("_INBOX_status"),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	calls := 0
	err = connect.Settled(t.Context(), js, quiet, func(ctx context.Context, js jetstream.JetStream) error {
		if err := errors.Join(nc.Publish("not.allowed", nil), nc.Flush()); err != nil {
			return err
		}
		if calls++; calls == 1 {
			return nats.ErrTimeout
		}
		_, err := js.Stream(ctx, schema.StreamOutcomes)
		return err
	})
	if err != nil || calls != 2 {
		t.Errorf("after %d calls: %v, want 2 calls and no error", calls, err)
	}
	if err := connect.Settled(t.Context(), js, quiet, func(ctx context.Context, js jetstream.JetStream) error {
		return js.DeleteConsumer(ctx, schema.StreamDeclared, schema.ConsumerIntake)
	}); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("%v, want a violation", err)
	}
}

func unchanged(all []*server.User) []*server.User { return all }
