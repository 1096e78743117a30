package main

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/mask"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// receiver takes traces by OTLP over HTTP, as a collector does.
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
	received, endpoint := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	vendor, err := simulator.Start(simulator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vendor.Close)
	env := map[string]string{
		"ELEVATEAI_BASE_URL": vendor.URL(), "ELEVATEAI_API_TOKEN": simulator.DefaultToken,
		"STATUSWORKER_CHAT_INTERVAL": "400ms",
	}
	url, js := provisioned(t, "--base-url", vendor.URL(), "--chat-interval", "400ms")
	w := command(t, "run", "--nats-url", url)
	for name, value := range env {
		w.env[name] = value
	}
	w.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	w.start()
	w.stderr.wait(t, w.ctx, "working")

	const traceID, spanID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	const traceparent = "00-" + traceID + "-" + spanID + "-01"
	id := uuid.NewString()
	vendor.Declare(id, simulator.Processed(0).With(simulator.Refusal(503).On(1, 1)))
	outcomes, err := js.OrderedConsumer(w.ctx, schema.StreamOutcomes, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(schema.DeclaredSubject(schema.Chat, id))
	m.Data = []byte(`{"interactionIdentifier":"` + id + `","type":"chat"}`)
	m.Header["traceparent"] = []string{traceparent}
	if _, err := js.PublishMsg(w.ctx, m); err != nil {
		t.Fatal(err)
	}
	outcome, err := outcomes.Next()
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome.Headers()["traceparent"]; !slices.Equal(got, []string{traceparent}) {
		t.Errorf("the outcome carries %v, want the context of the declared message", got)
	}
	w.stop()
	if code := w.end(); code != exitOK { // the spans are sent before it ends
		t.Fatalf("exit code %d: %s", code, &w.stderr)
	}

	if service, place := attributeOf(received.about, "service.name"), attributeOf(received.about, "deployment.environment.name"); service != "statusworker" || place != "test" {
		t.Errorf("the service is %q in %q", service, place)
	}
	deliveries, polls := received.named("process chat"), received.named("poll")
	if len(deliveries) < 2 || len(polls) != 2 {
		t.Fatalf("%d spans of deliveries and %d of polls, want one of each for each poll, and one more for the tombstone at most", len(deliveries), len(polls))
	}
	traces := map[string]bool{}
	for _, s := range deliveries {
		if len(s.ParentSpanId) != 0 {
			t.Errorf("a delivery is part of another trace")
		}
		if traces[string(s.TraceId)] = true; len(s.Links) != 1 || hex.EncodeToString(s.Links[0].TraceId) != traceID || hex.EncodeToString(s.Links[0].SpanId) != spanID {
			t.Errorf("a delivery links to %v, want to the span that declared the interaction", s.Links)
		}
		for name, want := range map[string]string{
			"messaging.system": "nats", "messaging.operation.type": "process", "messaging.consumer.group.name": "poll-chat",
			"messaging.destination.template": "interactions.poll.chat.{identifier}", "messaging.destination.name": schema.PollSubject(schema.Chat, id),
			"statusworker.interaction": id,
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
		if !slices.ContainsFunc(deliveries, func(d *tracepb.Span) bool { return string(d.SpanId) == string(s.ParentSpanId) }) {
			t.Error("a poll is no part of a delivery")
		}
	}
	if slices.Sort(results); !slices.Equal(results, []string{"processed", "unavailable"}) {
		t.Errorf("results %v", results)
	}
}

// endpointAnd switches tracing on, with more variables, each before its value.
func endpointAnd(more ...string) map[string]string {
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
	for pair := range slices.Chunk(more, 2) {
		env[pair[0]] = pair[1]
	}
	return env
}

// Of two variables for one setting, the one for traces counts.
func TestTracingByTheVariablesForTraces(t *testing.T) {
	env := endpointAnd("OTEL_EXPORTER_OTLP_ENDPOINT", "garbage", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1")
	for setting, values := range map[string][2]string{
		"PROTOCOL": {"grpc", "http/protobuf"}, "COMPRESSION": {"lz4", "gzip"}, "TIMEOUT": {"soon", "1000"},
	} {
		env["OTEL_EXPORTER_OTLP_"+setting], env["OTEL_EXPORTER_OTLP_TRACES_"+setting] = values[0], values[1]
	}
	if about, err := checkTracing(t.Context(), func(name string) string { return env[name] }); err != nil || about == nil {
		t.Errorf("tracing %v, error %v", about, err)
	}
	env = endpointAnd("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_CERTIFICATE", "/nope", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", certificateFile(t))
	if about, err := checkTracing(t.Context(), func(name string) string { return env[name] }); err != nil || about == nil {
		t.Errorf("tracing with certificates %v, error %v", about, err)
	}
}

// certificateFile is a file with a certificate in PEM.
func certificateFile(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	name := filepath.Join(t.TempDir(), "certificate.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Whatever OpenTelemetry and the receiver say goes into the log as its other lines, without the headers' values.
func TestTracingLogsNoHeaders(t *testing.T) {
	var received atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := r.Header.Get("Authorization")
		if got != "Bearer s3cret/1" || r.Header.Get("Api-Key") != "s3cret,2" {
			t.Errorf("headers %v", r.Header)
		}
		received.Store(true)
		w.WriteHeader(http.StatusForbidden)
		_, token, _ := strings.Cut(got, " ")
		fmt.Fprintf(w, "%q is no good, %s is none, and Api-Key: %s neither", got, token, r.Header.Get("Api-Key"))
	}))
	defer server.Close()
	var stderr output
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@host:port") // OpenTelemetry complains of it, though it is not wanted
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer s3cret%2F1 , api-key = s3cret%2C2")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "0")
	secrets := &mask.Set{}
	secrets.Add(environmentSecrets(os.Getenv)...)
	p := cli.Process{Getenv: os.Getenv, Stderr: mask.NewWriter(secrets, &stderr)}
	log, err := cli.LogFlags{LogLevel: "trace", LogFormat: "json"}.Logger(p)
	if err != nil {
		t.Fatal(err)
	}
	tracer, flush, err := tracing(t.Context(), os.Getenv, log)
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), "something")
	span.End()
	flush()
	if !received.Load() {
		t.Error("no trace was sent")
	}
	says(t, "the log", &stderr, "parse url", "traces are not sent", `\"***\" is no good, *** is none, and Api-Key: *** neither`)
	for _, line := range stderr.lines() {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line that is no JSON: %s", line)
		}
	}
	if strings.Contains(stderr.String(), "s3cret") {
		t.Errorf("a secret in the log:\n%s", &stderr)
	}
}

func TestTracingIsOffOrRefused(t *testing.T) {
	certificate := certificateFile(t)
	for _, tt := range []struct {
		env  map[string]string
		want string // in the error; empty where tracing is just off
	}{
		{map[string]string{}, ""},
		{map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, ""},
		{map[string]string{"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, `$OTEL_TRACES_EXPORTER is "zipkin": want otlp or none`},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, `$OTEL_EXPORTER_OTLP_PROTOCOL is "grpc": want http/protobuf`},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4318"}, `$OTEL_EXPORTER_OTLP_ENDPOINT is "127.0.0.1:4318": want a URL`},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4318"}, `$OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is "collector:4318": want a URL`},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "nonsense"}, `$OTEL_TRACES_SAMPLER is "nonsense": want always_on`},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1%"}, `$OTEL_TRACES_SAMPLER_ARG is "1%": want a number`},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"}, `want a number`},
		{endpointAnd("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer s3cret"), `$OTEL_EXPORTER_OTLP_HEADERS is "(withheld)" (pair 1 has no =): want key=value`},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-tenant=a,Authorization: Bearer s3cret=="), `$OTEL_EXPORTER_OTLP_TRACES_HEADERS is "(withheld)" (pair 2 has a key that is no name of a header)`},
		{endpointAnd("OTEL_EXPORTER_OTLP_HEADERS", "api-key=%zs3cret"), `$OTEL_EXPORTER_OTLP_HEADERS is "(withheld)" (pair 1 has a value with a bad percent sign)`},
		{endpointAnd("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%0A"+"x"), `$OTEL_EXPORTER_OTLP_HEADERS is "(withheld)" (pair 1 has a value with a control character)`},
		{endpointAnd("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret,"), `(pair 2 has no =)`},
		{endpointAnd("OTEL_EXPORTER_OTLP_ENDPOINT", "htp://u:s3cret@host:1"), `$OTEL_EXPORTER_OTLP_ENDPOINT is "htp://host:1": want a URL`},
		{endpointAnd("OTEL_BSP_MAX_QUEUE_SIZE", "-1"), `$OTEL_BSP_MAX_QUEUE_SIZE is "-1": want a whole number from 1 to 1000000`},
		{endpointAnd("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999999"), `$OTEL_BSP_MAX_QUEUE_SIZE is "99999999999999": want`},
		{endpointAnd("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"), `$OTEL_BSP_MAX_EXPORT_BATCH_SIZE is "0": want a whole number from 1`},
		{endpointAnd("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"), `$OTEL_BSP_MAX_EXPORT_BATCH_SIZE is "many": want a whole number`},
		{endpointAnd("OTEL_BSP_SCHEDULE_DELAY", "-5"), `$OTEL_BSP_SCHEDULE_DELAY is "-5": want a whole number of milliseconds, 0 or more`},
		{endpointAnd("OTEL_BSP_EXPORT_TIMEOUT", "30s"), `$OTEL_BSP_EXPORT_TIMEOUT is "30s": want a whole number of milliseconds`},
		{endpointAnd("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x"), `$OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT is "x": want a whole number`},
		{endpointAnd("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:65536"), `$OTEL_EXPORTER_OTLP_ENDPOINT is "http://127.0.0.1:65536": want a URL, such as http://127.0.0.1:4318 (the port 65536 is not 1 to 65535)`},
		{endpointAnd("OTEL_EXPORTER_OTLP_COMPRESSION", "lz4"), `$OTEL_EXPORTER_OTLP_COMPRESSION is "lz4": want gzip or none`},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "GZIP"), `$OTEL_EXPORTER_OTLP_TRACES_COMPRESSION is "GZIP": want gzip or none`},
		{endpointAnd("OTEL_EXPORTER_OTLP_TIMEOUT", "abc"), `$OTEL_EXPORTER_OTLP_TIMEOUT is "abc": want a whole number of milliseconds`},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1"), `$OTEL_EXPORTER_OTLP_TRACES_TIMEOUT is "-1": want a whole number of milliseconds`},
		{endpointAnd("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nope"), `$OTEL_EXPORTER_OTLP_CERTIFICATE is /nope: want a file with certificates in PEM (stat /nope: no such file`},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/dev/zero"), `$OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE is /dev/zero: want a file with certificates in PEM (open /dev/zero: it is a device`},
		{endpointAnd("OTEL_EXPORTER_OTLP_CERTIFICATE", "tracing_test.go"), `$OTEL_EXPORTER_OTLP_CERTIFICATE is tracing_test.go: want a file with certificates in PEM`},
		{endpointAnd("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate), `$OTEL_EXPORTER_OTLP_CERTIFICATE is set, and traces are sent by http: want an https endpoint`},
		{endpointAnd("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nope"), `$OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and $OTEL_EXPORTER_OTLP_CLIENT_KEY go together`},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/nope", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/nope"), `$OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE is /nope: want a certificate with its key in $OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY (`},
		{endpointAnd("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate, "OTEL_EXPORTER_OTLP_CLIENT_KEY", "/dev/zero"), `$OTEL_EXPORTER_OTLP_CLIENT_KEY is /dev/zero: want a file with the key of $OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE (`},
		{endpointAnd("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate, "OTEL_EXPORTER_OTLP_CLIENT_KEY", certificate), `$OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is ` + certificate + `: want a certificate with its key`},
		{map[string]string{"OTEL_BSP_MAX_QUEUE_SIZE": "-1", "OTEL_EXPORTER_OTLP_HEADERS": "s3cret"}, ""},
	} {
		tracer, flush, err := tracing(t.Context(), func(name string) string { return tt.env[name] }, nil)
		if tt.want == "" {
			if tracer != nil || err != nil {
				t.Errorf("%v: tracer %v, error %v, want none", tt.env, tracer, err)
			}
			flush()
			continue
		}
		var usage *cli.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: error %v, want bad configuration: %s", tt.env, err, tt.want)
		}
	}
}
