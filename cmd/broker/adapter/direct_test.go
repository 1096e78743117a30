package adapter_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/adapter"
	"statusworker/schema/broker"
)

// Somebody who switches direct gets on and off again while a worker runs changes nothing about its reads: they go to
// the leader, on the subject for which it has the right.
func TestReadsAreTheLeadersWhateverTheStreamAllows(t *testing.T) {
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
			t.Errorf("%s: last gives %d, %v, want 1", when, m.Sequence, err)
		}
		if m, err := b.Get(ctx, "S", 1); err != nil || len(m.Header) != 0 {
			t.Errorf("%s: get gives %v, %v, want the message as it was published", when, m.Header, err)
		}
		if m, err := b.Next(ctx, "S", "s.*", 1); err != nil || m.Sequence != 1 {
			t.Errorf("%s: next gives %d, %v, want 1", when, m.Sequence, err)
		}
		if err := js.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		for len(asked) > 0 {
			t.Errorf("%s: asked on %s, want the leader asked", when, (<-asked).Subject)
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
