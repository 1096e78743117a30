package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/connect"
	"statusworker/statusclient/simulator"
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
		_, err := js.Stream(ctx, ns.StreamOutcomes())
		return err
	})
	if err != nil || calls != 2 {
		t.Errorf("after %d calls: %v, want 2 calls and no error", calls, err)
	}
	if err := connect.Settled(t.Context(), js, quiet, func(ctx context.Context, js jetstream.JetStream) error {
		return js.DeleteConsumer(ctx, ns.StreamDeclared(), ns.ConsumerIntake())
	}); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("%v, want a violation", err)
	}
}

func unchanged(all []*server.User) []*server.User { return all }

// A worker that may not list the consumers of outcomes works, and reports everything else. Its log and /statusz name
// the permission.
func TestWorkerWithoutPermissionToList(t *testing.T) {
	t.Parallel()
	subject := "$JS.API.CONSUMER.LIST." + ns.StreamOutcomes()
	at := users(t, func(all []*server.User) []*server.User {
		i := slices.IndexFunc(all, func(u *server.User) bool { return u.Username == "worker" })
		return append(all, lacking(all[i], "lacking", subject))
	})
	command(t, append([]string{"provision", "--nats-url", at}, as("provision")...)...).exits(exitOK)
	w := command(t, append([]string{"run", "--nats-url", at, "--base-url", vendorOf(t).URL()}, as("lacking")...)...)
	w.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
	w.start()
	w.logs(`"permission missing; no metric shows whether consumers of outcomes keep up"`)
	says(t, "the log", &w.stderr, subject)
	_, address, _ := strings.Cut(w.stderr.String(), `"admin":"`)
	address, _, _ = strings.Cut(address, `"`)
	for path, texts := range map[string][]string{
		"/readyz":  {"ok"},
		"/metrics": {"statusworker_lane_due{", `statusworker_intake_waiting{nats_namespace="interactions"} 0`},
		"/statusz": {`"denied":["` + subject + `"]`, "docs/permissions.md"},
	} {
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", path, answer.Status, err)
		}
		for _, text := range texts {
			if !strings.Contains(string(body), text) {
				t.Errorf("%s has no %q:\n%s", path, text, body)
			}
		}
		if strings.Contains(string(body), "outcomes_unread") {
			t.Errorf("%s has consumers of outcomes", path)
		}
	}
}
