package permission_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/permission"
)

// connect starts a server with a user who may publish and subscribe to these subjects, and connects as that user.
func connect(t *testing.T, publish, subscribe []string, options ...nats.Option) *nats.Conn {
	t.Helper()
	user := &server.User{Username: "u", Password: "p", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
	}}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, Users: []*server.User{user},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	silent := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	nc, err := nats.Connect(s.ClientURL(), append([]nats.Option{nats.UserInfo("u", "p"), silent}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// violated fails the test unless err is a violation of this operation, on a subject with this prefix.
func violated(t *testing.T, err error, by permission.Operation, subject string) {
	t.Helper()
	v, ok := errors.AsType[*permission.Violation](err)
	if !ok || !errors.Is(err, nats.ErrPermissionViolation) || v.Operation != by ||
		!strings.HasPrefix(v.Subject, subject) {
		t.Errorf("error %v, want a violation of %s on %s", err, by, subject)
	}
}

// publish publishes and waits until the server has processed it.
func publish(t *testing.T, nc *nats.Conn, subject string) {
	t.Helper()
	if err := errors.Join(nc.Publish(subject, nil), nc.Flush()); err != nil {
		t.Fatal(err)
	}
}

func TestGuardEndsADeniedRequest(t *testing.T) {
	t.Parallel()
	nc := connect(t, []string{"allowed"}, []string{"_INBOX.>"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, subject := range []string{"denied", "denied.more", `with"quote`} {
		_, err := permission.RequestWithContext(ctx, nc, subject, nil)
		violated(t, err, permission.Publish, subject)
	}
	if ctx.Err() != nil {
		t.Error("the request waited for its deadline")
	}
	if _, err := permission.RequestWithContext(ctx, nc, "allowed", nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a request on an allowed subject: error %v, want %v", err, nats.ErrNoResponders)
	}
}

// A violation on another subject, or from before the request, is not the request's.
func TestGuardAttributesBySubjectAndTime(t *testing.T) {
	t.Parallel()
	nc := connect(t, []string{"allowed"}, []string{"_INBOX.>"})
	answer := &jetstream.APIError{Code: 400, ErrorCode: 10065}
	publish(t, nc, "before")
	for name, tt := range map[string]struct {
		publish string
		err     error
		want    bool
	}{
		"its subject":               {"request", context.DeadlineExceeded, true},
		"its subject as a wildcard": {"many.one", context.DeadlineExceeded, true},
		"another subject":           {"other", context.DeadlineExceeded, false},
		"a longer subject":          {"request.more", context.DeadlineExceeded, false},
		"denied before":             {"", context.DeadlineExceeded, false},
		"it succeeded":              {"request", nil, false},
		"an answer":                 {"request", answer, false},
		"no responders":             {"request", nats.ErrNoResponders, false},
	} {
		err := permission.Guard(t.Context(), nc, func(context.Context) error {
			if tt.publish != "" {
				publish(t, nc, tt.publish)
			}
			return tt.err
		}, "before", "request", "many.*")
		if tt.want {
			violated(t, err, permission.Publish, tt.publish)
		} else if !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v, want %v", name, err, tt.err)
		}
	}
}

// After a flush, Denied knows earlier violations, even if the error handler has not been called yet.
func TestDeniedAfterAFlush(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	waits := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { <-release })
	nc := connect(t, []string{"allowed"}, []string{"_INBOX.>"}, waits)
	defer close(release)
	for range 3 {
		mark := permission.Begin(nc)
		publish(t, nc, "allowed")
		if err := mark.Denied("allowed", "denied"); err != nil {
			t.Fatalf("an earlier violation counts: %v", err)
		}
		publish(t, nc, "denied")
		violated(t, mark.Denied("denied"), permission.Publish, "denied")
	}
}

// If the subscription for answers is denied, all requests are denied, not only the first, which subscribes.
func TestDeniedInbox(t *testing.T) {
	t.Parallel()
	nc := connect(t, []string{">"}, []string{"_OTHER.>"}, nats.CustomInboxPrefix("_OWN"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sub, err := nc.Subscribe("elsewhere", func(*nats.Msg) {})
	if err := errors.Join(err, sub.Unsubscribe(), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	mark := permission.Begin(nc)
	if err := mark.Denied("request"); err != nil {
		t.Errorf("a subscription that is not for answers counts: %v", err)
	}
	_, err = permission.RequestWithContext(ctx, nc, "request", nil)
	violated(t, err, permission.Subscribe, "_OWN.")
	violated(t, permission.Begin(nc).Denied("request"), permission.Subscribe, "_OWN.")
}

func TestErrorHandlerIsStillCalled(t *testing.T) {
	t.Parallel()
	heard := make(chan error, 10)
	hears := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { heard <- err })
	nc := connect(t, []string{"allowed"}, []string{"_INBOX.>"}, hears)
	var own sync.Map
	for i := range 2 { // two listeners
		defer permission.OnDenied(nc, func(err error) { own.Store(i, err) }, "denied.*")()
	}
	publish(t, nc, "denied.one")
	if err := <-heard; !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("the connection's handler got %v", err)
	}
	for i := range 2 {
		err, _ := own.Load(i)
		violated(t, err.(error), permission.Publish, "denied.one")
	}
	publish(t, nc, "allowed")
	if len(heard) != 0 {
		t.Errorf("the connection's handler got more than one error: %v", <-heard)
	}
}
