package publisher

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// attemptTimeout is how long one request waits for its answer. After that its effect is unknown, and it is made again.
const attemptTimeout = 3 * time.Second

// Broker is what a publisher needs of the broker: see [broker.Broker].
type Broker interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	Last(ctx context.Context, stream, subjects string) (broker.Message, error)
	Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error)
	Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error)
	Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error)
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
}

// Publisher publishes outcomes. It is safe for concurrent use.
type Publisher struct {
	broker  Broker
	log     logrus.FieldLogger
	letters *sparingly

	// byKind counts what was stored by destination or reason; the keys are all there from the beginning.
	byKind         map[string]*atomic.Uint64
	published      atomic.Uint64
	repeated       atomic.Uint64
	retries        atomic.Uint64
	contradictions atomic.Uint64
}

// Stats counts what a Publisher did since it was made.
type Stats struct {
	// Published outcomes were stored by this publisher: Processed of them are processed events, by destination, Failed
	// dead letters, by reason.
	Published uint64
	Processed map[schema.Destination]uint64
	Failed    map[schema.Reason]uint64
	// Repeated outcomes were not needed: they were there already, from an earlier attempt or worker, or the interaction
	// has ended in another generation.
	Repeated uint64
	// Retries are publishes that failed and were made again.
	Retries uint64
	// Contradictions are outcomes that were dropped because an outcome of the other kind is stored.
	Contradictions uint64
}

// New makes a publisher for the outcomes stream, which must exist: an error says if it does not.
func New(ctx context.Context, b Broker, log logrus.FieldLogger) (*Publisher, error) {
	if _, err := b.Stream(ctx, schema.StreamOutcomes); err != nil {
		return nil, err
	}
	p := &Publisher{broker: b, log: log, byKind: map[string]*atomic.Uint64{}}
	p.letters = newSparingly(func(n int) { log.WithField("suppressed", n).Warn("more dead letters stored") })
	for _, d := range schema.Destinations() {
		p.byKind[string(d)] = new(atomic.Uint64)
	}
	for _, r := range schema.Reasons() {
		p.byKind[string(r)] = new(atomic.Uint64)
	}
	return p, nil
}

// Stats reads the counters.
func (p *Publisher) Stats() Stats {
	s := Stats{
		Published: p.published.Load(), Repeated: p.repeated.Load(),
		Retries: p.retries.Load(), Contradictions: p.contradictions.Load(),
		Processed: map[schema.Destination]uint64{}, Failed: map[schema.Reason]uint64{},
	}
	for _, d := range schema.Destinations() {
		s.Processed[d] = p.byKind[string(d)].Load()
	}
	for _, r := range schema.Reasons() {
		s.Failed[r] = p.byKind[string(r)].Load()
	}
	return s
}

// logOther begins a log line about an outcome that is not stored, because of another one.
func (p *Publisher) logOther(dropped schema.Outcome, by lifecycle.Outcome) *logrus.Entry {
	return p.log.WithFields(logrus.Fields{
		"interaction": dropped.Identifier, "stored": by.Subject, "sequence": by.Sequence, "dropped": dropped.Subject(),
	})
}

// logStored logs an outcome that this publisher has stored: a dead letter as a warning, but not every one of a flood.
func (p *Publisher) logStored(o schema.Outcome) {
	fields := logrus.Fields{"interaction": o.Identifier, "type": o.Type}
	if !o.Failed() {
		fields["destination"] = o.Destination
		p.log.WithFields(fields).Debug("processed event stored")
		return
	}
	if p.letters.may() {
		fields["reason"], fields["detail"] = o.Reason, o.Detail
		p.log.WithFields(fields).Warn("dead letter stored")
	}
}
