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

// connect starts a server with a user who may publish on allowed subjects and subscribe to some, and connects as that
// user.
func connect(t *testing.T, publish, subscribe []string, options ...nats.Option) *nats.Conn {
	t.Helper()
	user := &server.User{Username: "u", Password: "p", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
	}}
	s, err := server.NewServer(
		&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, Users: []*server.User{user}},
	)
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

// violated fails the test unless err is a violation by that operation, whose subject begins so.
func violated(t *testing.T, err error, by permission.Operation, subject string) {
	t.Helper()
	v, ok := errors.AsType[*permission.Violation](err)
	if !ok || !errors.Is(err, nats.ErrPermissionViolation) || v.Operation != by ||
		!strings.HasPrefix(v.Subject, subject) {
		t.Errorf("the error is %v, want a violation of %s on %s", err, by, subject)
	}
}

// publish does so and waits until the server has seen it.
func publish(t *testing.T, nc *nats.Conn, subject string) {
	t.Helper()
	if err := errors.Join(nc.Publish(subject, nil), nc.Flush()); err != nil {
		t.Fatal(err)
	}
}

func TestGuardEndsARequestThatIsRefused(t *testing.T) {
	t.Parallel()
	nc := connect(t, []string{"allowed"}, []string{"_INBOX.>"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, subject := range []string{"denied", "denied.more", `with"quote`} {
		_, err := permission.RequestWithContext(ctx, nc, subject, nil)
		violated(t, err, permission.Publish, subject)
	}
	if ctx.Err() != nil {
		t.Error("it waited for an answer")
	}
	if _, err := permission.RequestWithContext(ctx, nc, "allowed", nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a request on an allowed subject gave %v, want that nobody answers", err)
	}
}

// A request is not blamed for what the server refused on another subject, or before it began.
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
		"its own subject":                   {"request", context.DeadlineExceeded, true},
		"its own subject, by a wildcard":    {"many.one", context.DeadlineExceeded, true},
		"another subject":                   {"other", context.DeadlineExceeded, false},
		"a longer subject":                  {"request.more", context.DeadlineExceeded, false},
		"refused before":                    {"", context.DeadlineExceeded, false},
		"its own subject, and it succeeded": {"request", nil, false},
		"its own subject, and an answer":    {"request", answer, false},
		"nobody answers":                    {"request", nats.ErrNoResponders, false},
	} {
		err := permission.Guard(t.Context(), nc, func(context.Context) error {
			if tt.publish != "" {
				publish(t, nc, tt.publish)
			}
			return tt.err
		}, "before", "request", "many.*")
		if tt.want {
			violated(t, err, permission.Publish, tt.publish)
		} else if err != tt.err {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
	}
}

// What the server refused before it answered a flush is known, though nobody has called the error handler yet.
func TestDeniedAfterAFlush(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	waits := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { <-held })
	nc := connect(t, []string{"allowed"}, []string{"_INBOX.>"}, waits)
	defer close(held)
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

// Where the client may not subscribe to its answers, no request gets one: not only the first, which subscribes.
func TestInboxThatIsRefused(t *testing.T) {
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
		t.Errorf("a subscription that is none for answers counts: %v", err)
	}
	_, err = permission.RequestWithContext(ctx, nc, "request", nil)
	violated(t, err, permission.Subscribe, "_OWN.")
	violated(t, permission.Begin(nc).Denied("request"), permission.Subscribe, "_OWN.")
}

func TestOthersHearAsBefore(t *testing.T) {
	t.Parallel()
	heard := make(chan error, 10)
	hears := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { heard <- err })
	nc := connect(t, []string{"allowed"}, []string{"_INBOX.>"}, hears)
	var own sync.Map
	for i := range 2 { // two watch
		defer permission.OnDenied(nc, func(err error) { own.Store(i, err) }, "denied.*")()
	}
	publish(t, nc, "denied.one")
	if err := <-heard; !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("the connection's handler heard %v", err)
	}
	for i := range 2 {
		err, _ := own.Load(i)
		violated(t, err.(error), permission.Publish, "denied.one")
	}
	publish(t, nc, "allowed")
	if len(heard) != 0 {
		t.Errorf("the connection's handler heard it more than once: %v", <-heard)
	}
}
