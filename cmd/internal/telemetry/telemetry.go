// Package telemetry sends traces, as the variables of OpenTelemetry ask for.
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
	// flushTraces is how long spans that are still to be sent may take at the end.
	flushTraces = 3 * time.Second
	// otelWarns is the level of OpenTelemetry's own warnings: its verbosity 1.
	otelWarns = slog.Level(-1)
)

// Start makes what OpenTelemetry's own variables ask for. Where they name no receiver of traces, or switch tracing off,
// the tracer is nil, and nothing is made.
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
	complaints := slog.New(logbridge.New(log, "OpenTelemetry", otelWarns))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		complaints.Warn("traces are not sent; the work goes on without them", logrus.ErrorKey, err)
	}))
	out, err := otlptracehttp.New(
		ctx,
		otlptracehttp.WithProxy(func(r *http.Request) (*url.URL, error) { return through(r.URL) }),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("sending traces: %w", err)
	}
	var batches []sdktrace.BatchSpanProcessorOption
	if delay, err := strconv.Atoi(getenv("OTEL_BSP_SCHEDULE_DELAY")); err == nil && delay == 0 {
		batches = append(batches, sdktrace.WithBatchTimeout(time.Millisecond)) // with 0, a core would do nothing else
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(out, batches...), sdktrace.WithResource(about))
	flush = func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTraces)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.WithError(err).Warn("some traces were not sent")
		}
	}
	return provider.Tracer("statusworker"), flush, nil
}
