package dlq_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/provisioning"
	"statusworker/publisher"
	"statusworker/publisher/dlq"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// A missing permission fails only the requests that need it.
func TestPermissionsOfOtherRequests(t *testing.T) {
	t.Parallel()
	may := &server.Permissions{
		Publish: &server.SubjectPermission{
			Deny: []string{"not.mine", "$JS.API.STREAM.MSG.DELETE.>", "$JS.API.CONSUMER.MSG.NEXT.>"},
		},
	}
	s, err := server.NewServer(&server.Options{
		Host:      "127.0.0.1",
		Port:      -1,
		NoSigs:    true,
		NoLog:     true,
		JetStream: true,
		StoreDir:  t.TempDir(),
		Users: []*server.User{
			{Username: "all", Password: "p"},
			{Username: "some", Password: "p", Permissions: may},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	as := func(user string) (*nats.Conn, jetstream.JetStream) {
		nc, err := nats.Connect(
			s.ClientURL(),
			nats.UserInfo(user, "p"),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return nc, js
	}
	ctx := t.Context()
	_, all := as("all")
	set := publisher.Topology(publisher.Choices{MaxAge: publisher.DefaultMaxAge})
	if _, err := provisioning.Create(ctx, all, set); err != nil {
		t.Fatal(err)
	}
	if _, err := all.Publish(ctx, ns.FailedSubject(schema.NotFound, "x"), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	nc, some := as("some")
	d, err := dlq.New(ctx, adapter.New(some), ns)
	if err != nil {
		t.Fatal(err)
	}
	each := func(f dlq.Filter) (n int, err error) {
		selection, err := d.Select(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		return n, selection.Each(ctx, func(dlq.DeadLetter) error { n++; return nil })
	}
	if err := errors.Join(nc.Publish("not.mine", nil), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	if n, err := each(dlq.Filter{Names: []string{"@999"}}); err != nil || n != 0 {
		t.Errorf("reading a dead letter that does not exist: %d, %v", n, err)
	}
	if _, err := each(dlq.Filter{}); !errors.Is(err, broker.ErrDenied) {
		t.Errorf("reading all without the permission to pull: %v, want ErrDenied", err)
	}
	selection, err := d.Select(ctx, dlq.Filter{Names: []string{"@1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Purge(ctx, selection, false, func(dlq.DeadLetter, dlq.Result) {}); !errors.Is(err, broker.ErrDenied) {
		t.Errorf("deleting without the permission: %v, want ErrDenied", err)
	}
}
