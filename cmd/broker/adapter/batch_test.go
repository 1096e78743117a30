package adapter_test

import (
	"errors"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/adapter"
	"statusworker/schema/broker"
)

// A batch with a denied message stores nothing. Its error has the denied subject, whichever message it is.
func TestDeniedBatch(t *testing.T) {
	t.Parallel()
	s := startFor(t, []*natsserver.User{{Username: "all"}, {Username: "some", Permissions: &natsserver.Permissions{
		Publish: &natsserver.SubjectPermission{Deny: []string{"s.denied"}},
	}}})
	all := connect(t, s.ClientURL(), nats.UserInfo("all", ""))
	create(t, all, adapter.Topology(queue))
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	b := adapter.New(connect(t, s.ClientURL(), nats.UserInfo("some", ""), quiet))
	for i, batch := range [][]broker.Publication{
		{{Subject: "s.denied"}, {Subject: "s.2"}}, {{Subject: "s.1"}, {Subject: "s.denied"}},
	} {
		_, err := b.PublishAll(bounded(t), batch)
		var e *broker.Error
		if !errors.As(err, &e) || !errors.Is(err, broker.ErrDenied) || e.Object != "s.denied" {
			t.Errorf("batch %d: error %v, want %v for s.denied", i, err, broker.ErrDenied)
		}
	}
	// An earlier violation does not explain a later rejection.
	ack, err := b.PublishAll(bounded(t), []broker.Publication{
		{Subject: "s.1", If: broker.Condition{Subjects: "s.*", Last: 7}}, {Subject: "s.2"},
	})
	if !errors.Is(err, broker.ErrRejected) {
		t.Errorf("a batch whose condition is false: %+v, error %v, want %v", ack, err, broker.ErrRejected)
	}
	if state, err := adapter.New(all).Stream(t.Context(), "S"); err != nil || state.Last != 0 {
		t.Errorf("state %+v, error %v, want an empty stream", state, err)
	}
}
