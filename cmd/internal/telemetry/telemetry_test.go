package telemetry

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/mask"
)

// endpointAnd returns variables that enable tracing, and more, given as pairs of name and value.
func endpointAnd(more ...string) map[string]string {
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
	for pair := range slices.Chunk(more, 2) {
		env[pair[0]] = pair[1]
	}
	return env
}

// The variable for traces overrides the general one.
func TestVariablesForTracesOverride(t *testing.T) {
	env := endpointAnd("OTEL_EXPORTER_OTLP_ENDPOINT", "garbage", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"http://127.0.0.1:1")
	for setting, values := range map[string][2]string{
		"PROTOCOL": {"grpc", "http/protobuf"}, "COMPRESSION": {"lz4", "gzip"}, "TIMEOUT": {"soon", "1000"},
	} {
		env["OTEL_EXPORTER_OTLP_"+setting], env["OTEL_EXPORTER_OTLP_TRACES_"+setting] = values[0], values[1]
	}
	if about, err := resourceOf(t.Context(), func(name string) string { return env[name] }, "1.2.3"); err != nil ||
		about == nil {
		t.Errorf("tracing %v, error %v", about, err)
	}
	env = endpointAnd("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_CERTIFICATE", "/nope",
		"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", certificateFile(t))
	if about, err := resourceOf(t.Context(), func(name string) string { return env[name] }, "1.2.3"); err != nil ||
		about == nil {
		t.Errorf("tracing with certificates %v, error %v", about, err)
	}
}

// certificateFile is a file with a certificate in PEM.
func certificateFile(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	name := filepath.Join(t.TempDir(), "certificate.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Errors of OpenTelemetry and of the receiver are logged as JSON records, without the values of headers.
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
		fmt.Fprintf(w, "rejected %q, %s and Api-Key: %s", got, token, r.Header.Get("Api-Key"))
	}))
	defer server.Close()
	var logged bytes.Buffer // written to by one goroutine at a time, and read after the flush
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.URL)
	// The variable above overrides this one, but OpenTelemetry logs an error about it.
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@host:port")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer s3cret%2F1 , api-key = s3cret%2C2")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "0")
	secrets := &mask.Set{}
	secrets.Add(Secrets(os.Getenv)...)
	log := logrus.New()
	log.SetOutput(mask.NewWriter(secrets, &logged))
	log.SetLevel(logrus.TraceLevel)
	log.SetFormatter(&logrus.JSONFormatter{})
	tracer, flush, err := Start(t.Context(), os.Getenv, "1.2.3", log)
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), "something")
	span.End()
	flush()
	if !received.Load() {
		t.Error("no trace was sent")
	}
	var quoted bool
	for line := range strings.Lines(logged.String()) {
		var entry struct{ Level, Source, Error string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("a line is not JSON: %s", line)
		}
		if entry.Source != "OpenTelemetry" {
			t.Errorf("source %q in %s", entry.Source, line)
		}
		quoted = quoted || entry.Level == "warning" && strings.Contains(entry.Error,
			`rejected "***", *** and Api-Key: ***`)
	}
	if !quoted {
		t.Errorf("the receiver's answer is not a warning:\n%s", &logged)
	}
	if strings.Contains(logged.String(), "s3cret") {
		t.Errorf("a secret in the log:\n%s", &logged)
	}
}

func TestTracingIsDisabledOrRejected(t *testing.T) {
	certificate := certificateFile(t)
	for _, tt := range []struct {
		env   map[string]string
		wrong string // the rejected variable; empty if tracing is disabled
	}{
		{map[string]string{}, ""},
		{endpointAnd("OTEL_SDK_DISABLED", "true"), ""},
		{endpointAnd("OTEL_SDK_DISABLED", "True"), ""},
		{endpointAnd("OTEL_TRACES_EXPORTER", "none"), ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"},
		{endpointAnd("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4318"},
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"},
		{endpointAnd("OTEL_TRACES_SAMPLER", "nonsense"), "OTEL_TRACES_SAMPLER"},
		{endpointAnd("OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG", "1%"),
			"OTEL_TRACES_SAMPLER_ARG"},
		{endpointAnd("OTEL_TRACES_SAMPLER", "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG", "nan"),
			"OTEL_TRACES_SAMPLER_ARG"},
		{endpointAnd("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer s3cret"), "OTEL_EXPORTER_OTLP_HEADERS"},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-tenant=a,Authorization: Bearer s3cret=="),
			"OTEL_EXPORTER_OTLP_TRACES_HEADERS"},
		{endpointAnd("OTEL_EXPORTER_OTLP_HEADERS", "api-key=%zs3cret"), "OTEL_EXPORTER_OTLP_HEADERS"},
		{endpointAnd("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%0A"+"x"), "OTEL_EXPORTER_OTLP_HEADERS"},
		{endpointAnd("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret,"), "OTEL_EXPORTER_OTLP_HEADERS"},
		{endpointAnd("OTEL_EXPORTER_OTLP_ENDPOINT", "htp://u:s3cret@host:1"), "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{endpointAnd("OTEL_BSP_MAX_QUEUE_SIZE", "-1"), "OTEL_BSP_MAX_QUEUE_SIZE"},
		{endpointAnd("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999999"), "OTEL_BSP_MAX_QUEUE_SIZE"},
		{endpointAnd("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"), "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"},
		{endpointAnd("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"), "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"},
		{endpointAnd("OTEL_BSP_SCHEDULE_DELAY", "-5"), "OTEL_BSP_SCHEDULE_DELAY"},
		{endpointAnd("OTEL_BSP_EXPORT_TIMEOUT", "30s"), "OTEL_BSP_EXPORT_TIMEOUT"},
		{endpointAnd("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x"), "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"},
		{endpointAnd("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:65536"), "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{endpointAnd("OTEL_EXPORTER_OTLP_COMPRESSION", "lz4"), "OTEL_EXPORTER_OTLP_COMPRESSION"},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "GZIP"), "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"},
		{endpointAnd("OTEL_EXPORTER_OTLP_TIMEOUT", "abc"), "OTEL_EXPORTER_OTLP_TIMEOUT"},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1"), "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"},
		{endpointAnd("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nope"), "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/dev/zero"), "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"},
		{endpointAnd("OTEL_EXPORTER_OTLP_CERTIFICATE", "telemetry_test.go"), "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		{endpointAnd("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate), "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		{endpointAnd("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nope"), "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"},
		{endpointAnd("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/nope", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
			"/nope"), "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE"},
		{endpointAnd("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate, "OTEL_EXPORTER_OTLP_CLIENT_KEY",
			"/dev/zero"), "OTEL_EXPORTER_OTLP_CLIENT_KEY"},
		{endpointAnd("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate, "OTEL_EXPORTER_OTLP_CLIENT_KEY",
			certificate), "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"},
		{map[string]string{"OTEL_BSP_MAX_QUEUE_SIZE": "-1", "OTEL_EXPORTER_OTLP_HEADERS": "s3cret"}, ""},
	} {
		tracer, flush, err := Start(t.Context(), func(name string) string { return tt.env[name] }, "1.2.3", nil)
		if tt.wrong == "" {
			if tracer != nil || err != nil {
				t.Errorf("%v: tracer %v, error %v, want none", tt.env, tracer, err)
			}
			flush()
			continue
		}
		var usage *cli.UsageError
		var setting *cli.SettingError
		if !errors.As(err, &usage) || !errors.As(err, &setting) || setting.Variable != tt.wrong ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: error %v, want bad configuration of %s", tt.env, err, tt.wrong)
		}
	}
}
