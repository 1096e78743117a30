package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"statusworker/schema"
	"statusworker/statusclient/simulator"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver accepts traces by OTLP over HTTP, like a collector.
type receiver struct {
	mu    sync.Mutex
	spans []*tracepb.Span
	about []*common.KeyValue
}

func newReceiver(t *testing.T) (*receiver, string) {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var export collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", req.URL.Path, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, rs := range export.ResourceSpans {
			r.about = rs.Resource.Attributes
			for _, ss := range rs.ScopeSpans {
				r.spans = append(r.spans, ss.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return r, server.URL
}

func attributeOf(attributes []*common.KeyValue, name string) string {
	for _, a := range attributes {
		if a.Key == name {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

func (r *receiver) named(prefix string) (all []*tracepb.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if strings.HasPrefix(s.Name, prefix) {
			all = append(all, s)
		}
	}
	return all
}

func TestTraces(t *testing.T) {
	t.Parallel()
	received, endpoint := newReceiver(t)
	vendor := vendor(t, simulator.Config{})
	url, js := provisioned(t)
	env := workerEnv(url, vendor.URL())
	env["STATUSWORKER_CHAT_INTERVAL"] = "400ms"
	env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_RESOURCE_ATTRIBUTES"] = endpoint, "deployment.environment.name=test"
	w := processOf(t, env, "run").launch()
	w.logs("working")

	const traceID, spanID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	const traceparent = "00-" + traceID + "-" + spanID + "-01"
	id := uuid.NewString()
	vendor.Declare(id, simulator.Processed(0).With(simulator.Refusal(503).On(1, 1)))
	outcomes, err := js.OrderedConsumer(t.Context(), ns.StreamOutcomes(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(ns.DeclaredSubject(schema.Chat, id))
	m.Data = []byte(`{"interactionIdentifier":"` + id + `","type":"chat"}`)
	m.Header["traceparent"] = []string{traceparent}
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	outcome, err := outcomes.Next()
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome.Headers()["traceparent"]; !slices.Equal(got, []string{traceparent}) {
		t.Errorf("the outcome carries %v, want the trace context of the declared message", got)
	}
	w.signal(syscall.SIGTERM)
	w.exits(exitOK) // the spans are exported before it exits

	for name, want := range map[string]string{"service.name": "statusworker", "deployment.environment.name": "test"} {
		if got := attributeOf(received.about, name); got != want {
			t.Errorf("attribute %s of the resource is %q, want %q", name, got, want)
		}
	}
	deliveries, polls := received.named("process chat"), received.named("poll")
	if len(deliveries) < 2 || len(polls) != 2 {
		t.Fatalf(
			"%d spans of deliveries and %d of polls, want 2 of each, and at most one more for the tombstone",
			len(deliveries),
			len(polls),
		)
	}
	traces := map[string]bool{}
	for _, s := range deliveries {
		if len(s.ParentSpanId) != 0 {
			t.Errorf("a delivery is part of another trace")
		}
		if traces[string(s.TraceId)] = true; len(s.Links) != 1 || hex.EncodeToString(s.Links[0].TraceId) != traceID ||
			hex.EncodeToString(s.Links[0].SpanId) != spanID {
			t.Errorf("a delivery links to %v, want to the span that declared the interaction", s.Links)
		}
		for name, want := range map[string]string{
			"messaging.system": "nats", "messaging.operation.type": "process",
			"messaging.consumer.group.name":  "poll-chat",
			"messaging.destination.template": "interactions.poll.chat.{identifier}",
			"messaging.destination.name":     ns.PollSubject(schema.Chat, id),
			"statusworker.interaction":       id,
		} {
			if got := attributeOf(s.Attributes, name); got != want {
				t.Errorf("attribute %s is %q, want %q", name, got, want)
			}
		}
	}
	if len(traces) != len(deliveries) {
		t.Errorf("%d traces for %d deliveries", len(traces), len(deliveries))
	}
	var results []string
	for _, s := range polls {
		results = append(results, attributeOf(s.Attributes, "statusworker.poll.result"))
		if !slices.ContainsFunc(
			deliveries,
			func(d *tracepb.Span) bool { return string(d.SpanId) == string(s.ParentSpanId) },
		) {
			t.Error("a poll is no part of a delivery")
		}
	}
	if slices.Sort(results); !slices.Equal(results, []string{"processed", "unavailable"}) {
		t.Errorf("results %v", results)
	}
}
