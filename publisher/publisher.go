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

// attemptTimeout is the timeout of one request. After a timeout its effect is unknown, and it is repeated.
const attemptTimeout = 3 * time.Second

// Broker is the operations of [broker.Broker] that a publisher uses.
type Broker interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	PublishAll(ctx context.Context, all []broker.Publication) (broker.Ack, error)
	Last(ctx context.Context, stream, subjects string) (broker.Message, error)
	Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error)
	Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error)
	Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error)
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
}

// Publisher publishes outcomes. It is safe for concurrent use.
type Publisher struct {
	broker      Broker
	names       schema.Namespace
	log         logrus.FieldLogger
	deadLetters *limiter // of log messages
	// batches is whether the outcomes stream stores atomic batches.
	batches atomic.Bool

	// byKind counts stored outcomes by destination or reason. All keys exist from the beginning.
	byKind         map[string]*atomic.Uint64
	published      atomic.Uint64
	repeated       atomic.Uint64
	retries        atomic.Uint64
	contradictions atomic.Uint64
}

// Stats are the counters of a Publisher since it was created.
type Stats struct {
	// Published is the number of outcomes that this publisher has stored. Processed is the number of processed events
	// among them, by destination, and Failed that of dead letters, by reason.
	Published uint64
	Processed map[schema.Destination]uint64
	Failed    map[schema.Reason]uint64
	// Repeated is the number of outcomes that were already stored, by an earlier attempt or another worker, or whose
	// interaction has ended in another generation.
	Repeated uint64
	// Retries is the number of attempts that failed and were repeated.
	Retries uint64
	// Contradictions is the number of outcomes that were dropped because a contradicting outcome is stored.
	Contradictions uint64
}

// New returns a publisher for the outcomes stream of a namespace. It waits for the broker's answer, and returns an
// error if the stream does not exist. If the stream allows atomic batches later, only a new publisher uses them.
func New(ctx context.Context, b Broker, n schema.Namespace, log logrus.FieldLogger) (*Publisher, error) {
	stream, err := b.Stream(ctx, n.StreamOutcomes())
	if err != nil {
		return nil, err
	}
	p := &Publisher{broker: b, names: n, log: log, byKind: map[string]*atomic.Uint64{}}
	p.batches.Store(stream.AtomicBatches)
	p.deadLetters = newLimiter(func(n int) { log.WithField("dead_letters", n).Warn("more dead letters stored") })
	for _, d := range schema.Destinations() {
		p.byKind[string(d)] = new(atomic.Uint64)
	}
	for _, r := range schema.Reasons() {
		p.byKind[string(r)] = new(atomic.Uint64)
	}
	return p, nil
}

// Stats returns the current counters.
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

// logOther returns a log entry for an outcome that is not stored because of another one.
func (p *Publisher) logOther(dropped schema.Outcome, by lifecycle.Outcome) *logrus.Entry {
	return p.log.WithFields(logrus.Fields{
		"interaction": dropped.Identifier, "stored": by.Subject, "sequence": by.Sequence,
		"dropped": p.names.OutcomeSubject(dropped),
	})
}

// logStored logs an outcome that this publisher has stored. It logs dead letters as warnings, with a rate limit.
func (p *Publisher) logStored(o schema.Outcome) {
	fields := logrus.Fields{"interaction": o.Identifier, "type": o.Type}
	if !o.Failed() {
		fields["destination"] = o.Destination
		p.log.WithFields(fields).Debug("processed event stored")
		return
	}
	if p.deadLetters.allow() {
		fields["reason"], fields["detail"] = o.Reason, o.Detail
		p.log.WithFields(fields).Warn("dead letter stored")
	}
}
