package consumer

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"statusworker/schema"
)

// Names of attributes: those of OpenTelemetry's messaging conventions, and our own.
const (
	attrSystem    = attribute.Key("messaging.system")
	attrOperation = attribute.Key("messaging.operation.name")
	attrKind      = attribute.Key("messaging.operation.type")
	attrTemplate  = attribute.Key("messaging.destination.template")
	attrSubject   = attribute.Key("messaging.destination.name")
	attrConsumer  = attribute.Key("messaging.consumer.group.name")
	attrSize      = attribute.Key("messaging.message.body.size")

	attrInteraction = attribute.Key("statusworker.interaction")
	attrPoll        = attribute.Key("statusworker.poll.number")
	attrResult      = attribute.Key("statusworker.poll.result")
	attrStatus      = attribute.Key("statusworker.status")
	attrDecision    = attribute.Key("statusworker.decision")
)

// spans are the spans of one delivery. A nil pointer traces nothing.
type spans struct {
	tracer   trace.Tracer
	delivery trace.Span
}

// trace begins the span of a delivery. It is the root of a trace, with a link to the span that declared the
// interaction: one trace for a whole generation would last for hours.
func (w *Worker) trace(ctx context.Context, d *delivery) (context.Context, *spans) {
	if w.cfg.Tracer == nil {
		return ctx, nil
	}
	kind, identifier, _ := d.Namespace.SplitSubject(d.Message.Subject)
	options := []trace.SpanStartOption{
		trace.WithNewRoot(),
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attrSystem.String("nats"),
			attrOperation.String("process"),
			attrKind.String("process"),
			attrSubject.String(d.Message.Subject),
			attrTemplate.String(d.lane.template(d.Namespace)),
			attrConsumer.String(d.lane.name),
			attrSize.Int(len(d.Message.Data)),
			attrInteraction.String(identifier),
		),
	}
	if link, ok := linkTo(schema.Traceparent(d.Message.Header)); ok {
		options = append(options, trace.WithLinks(link))
	}
	if kind == "" {
		kind = d.lane.name
	}
	ctx, span := w.cfg.Tracer.Start(ctx, "process "+kind, options...)
	return ctx, &spans{tracer: w.cfg.Tracer, delivery: span}
}

// template is the subject of the lane's deliveries with a placeholder for the identifier.
func (l *lane) template(n schema.Namespace) string {
	if l.typ == "" {
		return n.DeclaredSubject("{type}", "{identifier}")
	}
	if l.stream == n.StreamDeclared() {
		return n.DeclaredSubject(l.typ, "{identifier}")
	}
	return n.PollSubject(l.typ, "{identifier}")
}

// linkTo returns a link to the span of a traceparent.
func linkTo(traceparent string) (trace.Link, bool) {
	if traceparent == "" {
		return trace.Link{}, false
	}
	ctx := propagation.TraceContext{}.Extract(
		context.Background(),
		propagation.MapCarrier{schema.HeaderTraceparent: traceparent},
	)
	span := trace.SpanContextFromContext(ctx)
	return trace.Link{SpanContext: span}, span.IsValid()
}

// poll begins the span of the status request. The caller ends it with the returned function.
func (s *spans) poll(ctx context.Context, d *delivery) (context.Context, func(Facts)) {
	if s == nil {
		return ctx, func(Facts) {}
	}
	ctx, span := s.tracer.Start(ctx, "poll", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attrInteraction.String(d.Identifier), attrPoll.Int64(int64(d.At.Number))))
	return ctx, func(f Facts) {
		span.SetAttributes(attrResult.String(string(f.Result())))
		if f.Fault != "" {
			span.SetStatus(codes.Error, f.FaultDetail)
		} else {
			span.SetAttributes(attrStatus.String(string(f.Status)))
		}
		span.End()
	}
}

// decided records the decision about the interaction.
func (s *spans) decided(d Decision) {
	if s != nil {
		s.delivery.SetAttributes(attrDecision.String(d.Why))
	}
}

// end ends the span of the delivery.
func (s *spans) end(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.delivery.SetStatus(codes.Error, err.Error())
	}
	s.delivery.End()
}
