package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

const (
	trace        = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	otherTrace   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	invalidTrace = "00-00000000000000000000000000000000-b7ad6b7169203331-01"
)

// traced is a declared message with a trace context.
type traced struct {
	headers broker.Header
	// extension is a member of a CloudEvent; if it is empty, the message is bare.
	extension, value string
	want             string // the trace context of its outcome
}

func (d traced) publication(id string) broker.Publication {
	p := broker.Publication{
		Subject: ns.DeclaredSubject(schema.Chat, id), Header: d.headers, Data: stage.Declaration(schema.Chat, id),
	}
	if d.extension != "" {
		p.Data = fmt.Appendf(nil, `{"specversion":"1.0","id":"1","source":"/s","type":"t",%q:%q,"data":%s}`,
			d.extension, d.value, p.Data)
	}
	return p
}

// The trace context of a declared message is that of its outcome, in the header and in the event.
func TestTraceContext(t *testing.T) {
	var all []traced
	for _, name := range []string{"traceparent", "Traceparent", "TRACEPARENT", "ce-traceparent", "Ce-Traceparent"} {
		all = append(all, traced{headers: broker.Header{name: {trace}}, want: trace})
	}
	for _, name := range []string{"traceparent", "TraceParent"} {
		all = append(all,
			traced{extension: name, value: trace, want: trace},
			traced{extension: name, value: trace, headers: broker.Header{"Traceparent": {invalidTrace}}, want: trace},
			traced{extension: name, value: otherTrace, headers: broker.Header{"Traceparent": {trace}}, want: trace},
		)
	}
	all = append(all,
		traced{headers: broker.Header{"Traceparent": {otherTrace}, "traceparent": {trace}}, want: trace},
		traced{headers: broker.Header{"Traceparent": {trace}, "traceparent": {invalidTrace}}, want: trace},
		traced{extension: "traceparent", value: invalidTrace},
	)
	// A header that is not a trace context is dropped, even if it is larger than a reservation can carry.
	for _, value := range []string{
		invalidTrace, strings.Repeat("x", 65000),
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
	} {
		all = append(all, traced{headers: broker.Header{"traceparent": {value}}})
	}
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		testTraces(t, onServer(t, consumer.Schedule, nil), all)
	})
	bubbles(t, func(t *testing.T, mode consumer.Mode) { testTraces(t, inMemory(t, mode, nil), all) })
}

func testTraces(t *testing.T, s *testStage, all []traced) {
	messages := map[string]traced{} // by identifier
	for _, d := range all {
		id := uuid.NewString()
		messages[id] = d
		s.Vendor.Declare(id, simulator.Processed(3*time.Second)) // several polls, in both modes
		s.PublishMessage(d.publication(id))
	}
	w := s.Start()
	for _, o := range s.WaitOutcomes(len(all)) {
		d := messages[o.Data.Identifier]
		var header []string
		if d.want != "" {
			header = []string{d.want}
		}
		if got := o.Header[schema.HeaderTraceparent]; !slices.Equal(got, header) || o.Traceparent != d.want {
			t.Errorf("%.200v: header %.80q, event %.80q, want %q", d, got, o.Traceparent, d.want)
		}
		if polls := s.Vendor.CountOf(o.Data.Identifier); polls < 2 {
			t.Errorf("%d polls, want 2 or more", polls)
		}
	}
	if failed := w.Stats().DeliveryErrors; failed > 0 {
		t.Errorf("%d delivery errors, want none", failed)
	}
}
