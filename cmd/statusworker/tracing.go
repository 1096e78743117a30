package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"statusworker/schema"
)

const (
	// flushTraces is how long spans that are still to be sent may take at the end.
	flushTraces = 3 * time.Second
	// complainTraces is how often trouble with the receiver of traces is logged.
	complainTraces = 5 * time.Minute
)

// tracing reads OpenTelemetry's own variables. Where they name no receiver of traces, or switch tracing off, the tracer
// is nil, and nothing is made. The variables that say how (OTEL_EXPORTER_OTLP_*, OTEL_RESOURCE_ATTRIBUTES,
// OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_BSP_*) are read by OpenTelemetry itself, from the environment of the process.
func tracing(ctx context.Context, getenv func(string) string, log logrus.FieldLogger) (tracer trace.Tracer, flush func(), err error) {
	exporter := getenv("OTEL_TRACES_EXPORTER")
	endpoint := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") + getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	switch {
	case strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true"), exporter == "none", exporter == "" && endpoint == "":
		return nil, func() {}, nil
	case exporter != "" && exporter != "otlp":
		return nil, nil, usagef("$OTEL_TRACES_EXPORTER is %s: want otlp or none", schema.Quote(exporter))
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := getenv(name); protocol != "" {
			if protocol != "http/protobuf" {
				return nil, nil, usagef("$%s is %s: want http/protobuf (the receiver's HTTP port, 4318 by default)", name, schema.Quote(protocol))
			}
			break
		}
	}
	// OpenTelemetry would go on with something else than what was meant.
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if value := getenv(name); value != "" && !isHTTP(value) {
			return nil, nil, usagef("$%s is %s: want a URL, such as http://127.0.0.1:4318", name, schema.Quote(value))
		}
	}
	if err := checkSampler(getenv("OTEL_TRACES_SAMPLER"), getenv("OTEL_TRACES_SAMPLER_ARG")); err != nil {
		return nil, nil, err
	}
	otel.SetErrorHandler(&traceComplaints{log: log})
	out, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("sending traces: %w", err)
	}
	// What the environment says of the service comes last, and wins.
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "statusworker"),
		attribute.String("service.version", versionString())), resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, usagef("$OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(out), sdktrace.WithResource(about))
	flush = func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTraces)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.WithError(err).Warn("some traces were not sent")
		}
	}
	return provider.Tracer("statusworker"), flush, nil
}

func isHTTP(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// checkSampler knows the samplers that OpenTelemetry has without more.
func checkSampler(name, arg string) error {
	name, arg = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(arg)
	switch name {
	case "", "always_on", "always_off", "parentbased_always_on", "parentbased_always_off":
		return nil
	case "traceidratio", "parentbased_traceidratio":
		if ratio, err := strconv.ParseFloat(arg, 64); arg != "" && (err != nil || !(ratio >= 0 && ratio <= 1)) {
			return usagef("$OTEL_TRACES_SAMPLER_ARG is %s: want a number from 0 to 1", schema.Quote(arg))
		}
		return nil
	}
	return usagef("$OTEL_TRACES_SAMPLER is %s: want always_on, always_off, traceidratio, or one of them after parentbased_", schema.Quote(name))
}

// traceComplaints logs trouble with traces, and not every time.
type traceComplaints struct {
	log logrus.FieldLogger
	mu  sync.Mutex
	at  time.Time
}

// Handle is for OpenTelemetry.
func (c *traceComplaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.at) >= complainTraces {
		c.at = now
		c.log.WithError(err).Warn("traces are not sent; the work goes on without them")
	}
}
