package adapter_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/adapter"
	"statusworker/schema/broker"
)

// Reads go to the leader, even if direct gets are enabled and disabled while a worker runs. A worker has the permission
// for these reads only.
func TestReadsFromTheLeader(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t).URL())
	logs := broker.StreamConfig{Name: "S", Subjects: []string{"s.>"}}
	create(t, js, adapter.Topology(logs))
	b := adapter.New(js)
	if _, err := b.Publish(t.Context(), broker.Publication{Subject: "s.a"}); err != nil {
		t.Fatal(err)
	}
	asked := make(chan *nats.Msg, 100)
	sub, err := js.Conn().ChanSubscribe("$JS.API.DIRECT.GET.>", asked)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	allow := func(direct bool) {
		t.Helper()
		cfg := adapter.Topology(logs).Streams[0]
		cfg.AllowDirect = direct
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	read := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if m, err := b.Last(ctx, "S", "s.*"); err != nil || m.Sequence != 1 {
			t.Errorf("%s: last message %d, error %v, want 1", when, m.Sequence, err)
		}
		if m, err := b.Get(ctx, "S", 1); err != nil || len(m.Header) != 0 {
			t.Errorf("%s: header %v, error %v, want the message as published", when, m.Header, err)
		}
		if m, err := b.Next(ctx, "S", "s.*", 1); err != nil || m.Sequence != 1 {
			t.Errorf("%s: next message %d, error %v, want 1", when, m.Sequence, err)
		}
		if err := js.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		for len(asked) > 0 {
			t.Errorf("%s: request on %s, want requests to the leader only", when, (<-asked).Subject)
		}
	}
	read("before")
	allow(true)
	if _, err := b.Subjects(t.Context(), "S", "s.>"); err != nil { // as the publisher does
		t.Fatal(err)
	}
	read("with direct gets")
	allow(false)
	read("without them again")
}
