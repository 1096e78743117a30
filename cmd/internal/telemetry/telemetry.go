// Package telemetry exports traces, configured by OpenTelemetry's environment variables.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"statusworker/cmd/internal/logbridge"
	"statusworker/cmd/internal/proxy"
)

const (
	// flushTimeout limits the export of the last spans at shutdown.
	flushTimeout = 3 * time.Second
	// otelWarns is the level of OpenTelemetry's own warnings: verbosity 1 of logr.
	otelWarns = slog.Level(-1)
)

// Start starts the export of traces. The tracer is nil if the variables name no receiver of traces, or disable tracing.
// Otherwise flush waits until the last spans are exported, for at most 3 s.
func Start(
	ctx context.Context, getenv func(string) string, version string, log *logrus.Logger,
) (tracer trace.Tracer, flush func(), err error) {
	about, err := resourceOf(ctx, getenv, version)
	if err != nil {
		return nil, nil, err
	}
	if about == nil {
		return nil, func() {}, nil
	}
	through, err := proxy.FromEnvironment(getenv)
	if err != nil {
		return nil, nil, err
	}
	otel.SetLogger(logr.FromSlogHandler(logbridge.New(log, "OpenTelemetry", otelWarns)))
	failures := slog.New(logbridge.New(log, "OpenTelemetry", otelWarns))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		failures.Warn("exporting traces failed", logrus.ErrorKey, err)
	}))
	proxied := func(r *http.Request) (*url.URL, error) { return through(r.URL) }
	out, err := otlptracehttp.New(ctx, otlptracehttp.WithProxy(proxied))
	if err != nil {
		return nil, nil, fmt.Errorf("starting the export of traces: %w", err)
	}
	var batches []sdktrace.BatchSpanProcessorOption
	if delay, err := strconv.Atoi(getenv("OTEL_BSP_SCHEDULE_DELAY")); err == nil && delay == 0 {
		batches = append(batches, sdktrace.WithBatchTimeout(time.Millisecond)) // 0 would use a whole core
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(out, batches...), sdktrace.WithResource(about))
	flush = func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.WithError(err).Warn("exporting the last traces failed")
		}
	}
	return provider.Tracer("statusworker"), flush, nil
}
