package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/schema"
	"statusworker/schema/topology"
)

// attemptTimeout is how long one publish waits for its ack. After that its fate is unknown, and it is made again.
const attemptTimeout = 3 * time.Second

// Publisher publishes outcomes. It is safe for concurrent use.
type Publisher struct {
	js       jetstream.JetStream
	outcomes jetstream.Stream
	log      logrus.FieldLogger

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
	// Repeated outcomes were there already, from an earlier attempt.
	Repeated uint64
	// Retries are publishes that failed and were made again.
	Retries uint64
	// Contradictions are outcomes that were dropped because an outcome of the other kind is stored.
	Contradictions uint64
}

// New makes a publisher for the outcomes stream, which must exist: an error says if it does not.
func New(ctx context.Context, js jetstream.JetStream, log logrus.FieldLogger) (*Publisher, error) {
	outcomes, err := js.Stream(ctx, schema.StreamOutcomes)
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", schema.StreamOutcomes, err)
	}
	p := &Publisher{js: js, outcomes: outcomes, log: log, byKind: map[string]*atomic.Uint64{}}
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

// Publish stores the outcomes of one interaction: one dead letter, or one or more processed events. It returns nil when
// the broker has acknowledged all of them, or had them already, or holds an outcome that contradicts them, which is
// kept. It tries again with growing delays until ctx ends, and returns the last error then; the caller repeats the same
// call later.
func (p *Publisher) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	todo := outcomes
	var expected uint64
	var last error
	attempt := func() (err error) {
		defer func() { last = err }()
		for len(todo) > 0 {
			o := todo[0]
			sequence, err := p.store(ctx, o, expected)
			switch {
			case err == nil:
				expected, todo = sequence, todo[1:]
				continue
			case !topology.Refused(err):
				if errors.Is(err, nats.ErrMaxPayload) {
					return backoff.Permanent(err)
				}
				return err
			}
			found, err := p.stored(ctx, o)
			if err != nil {
				return err
			}
			r := reconcile(outcomes, found)
			if r.contradiction != nil {
				p.contradictions.Add(1)
				p.log.WithFields(logrus.Fields{
					"interaction": o.Identifier, "stored": r.contradiction.subject, "sequence": r.contradiction.sequence, "dropped": o.Subject(),
				}).Warn("an outcome that contradicts this one is stored; the stored one is kept")
				todo = nil
				return nil
			}
			p.repeated.Add(uint64(max(0, len(todo)-len(r.missing))))
			progress := len(r.missing) < len(todo) || r.expected != expected
			todo, expected = r.missing, r.expected
			if !progress {
				// A replicated stream refuses for a moment while another publish is in its way.
				return fmt.Errorf("publishing outcome %s: %w", o.Subject(), errBusy)
			}
		}
		return nil
	}
	policy := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	err := backoff.RetryNotify(attempt, backoff.WithContext(policy, ctx), func(error, time.Duration) { p.retries.Add(1) })
	switch {
	case err == nil || last == nil:
		return err
	case errors.Is(last, err):
		return last // it says of which outcome, where backoff says only that time is up
	}
	return fmt.Errorf("%w: %w", err, last)
}

var errBusy = errors.New("the broker refused it, but nothing is stored")

// store publishes one outcome, on the condition that the last one stored for its interaction has the expected sequence.
func (p *Publisher) store(ctx context.Context, o schema.Outcome, expected uint64) (uint64, error) {
	data, err := o.Marshal()
	if err != nil {
		return 0, backoff.Permanent(err)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m := &nats.Msg{Subject: o.Subject(), Data: data, Header: nats.Header{"Content-Type": {schema.ContentTypeCloudEvent}}}
	if t := o.Origin.Traceparent; t != "" {
		m.Header[schema.HeaderTraceparent] = []string{t}
	}
	ack, err := p.js.PublishMsg(ctx, m, jetstream.WithMsgID(o.ID()),
		jetstream.WithExpectLastSequenceForSubject(expected, family(o)))
	if err != nil {
		return 0, fmt.Errorf("publishing outcome %s: %w", m.Subject, err)
	}
	if ack.Duplicate {
		p.repeated.Add(1)
	} else {
		p.published.Add(1)
		p.byKind[string(o.Destination)+string(o.Reason)].Add(1) // one of them is empty
	}
	return ack.Sequence, nil
}

// family matches the stored outcomes that exclude o.
func family(o schema.Outcome) string {
	if o.Reason == schema.InvalidMessage {
		return o.Subject()
	}
	return schema.OutcomeSubjects(o.Identifier)
}

// record is an outcome that is stored.
type record struct {
	subject     string
	sequence    uint64
	destination schema.Destination
	reason      schema.Reason
	// life is when the declared message of this outcome was stored, source is where (of dead letters only).
	life   time.Time
	source string
}

// stored reads the newest outcome on each subject of the family of o, from the stream's leader.
func (p *Publisher) stored(ctx context.Context, o schema.Outcome) ([]record, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	info, err := p.outcomes.Info(ctx, jetstream.WithSubjectFilter(family(o)))
	if err != nil {
		return nil, fmt.Errorf("reading which outcomes %s has: %w", o.Identifier, err)
	}
	var found []record
	for subject := range info.State.Subjects {
		m, err := p.outcomes.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading outcome %s: %w", subject, err)
		}
		r := readRecord(m)
		if o.Reason != schema.InvalidMessage || r.source == o.Origin.Subject {
			found = append(found, r)
			continue
		}
		// Invalid messages of several declared subjects share this one, in whatever order they came.
		all, err := p.each(ctx, subject)
		if err != nil {
			return nil, err
		}
		found = append(found, all...)
	}
	return found, nil
}

// Buried tells whether a dead letter is stored of an interaction's life: of the one whose declared message was stored at
// that time, or of a later one. The error says that the broker could not be asked.
func (p *Publisher) Buried(ctx context.Context, identifier string, life time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m, err := p.outcomes.GetLastMsgForSubject(ctx, schema.FailedSubjects(identifier))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the dead letter of %s: %w", identifier, err)
	}
	r := readRecord(m)
	return r.reason != schema.InvalidMessage && !r.life.Before(life), nil
}

// each reads all that is stored on a subject.
func (p *Publisher) each(ctx context.Context, subject string) (found []record, err error) {
	for from := uint64(1); ; {
		m, err := p.outcomes.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading outcome %s: %w", subject, err)
		}
		found, from = append(found, readRecord(m)), m.Sequence+1
	}
}

func readRecord(m *jetstream.RawStreamMsg) record {
	var event struct {
		Data struct {
			Destination schema.Destination `json:"destination"`
			Reason      schema.Reason      `json:"reason"`
			DeclaredAt  time.Time          `json:"declaredAt"`
			Source      schema.Origin      `json:"source"`
		} `json:"data"`
	}
	r := record{subject: m.Subject, sequence: m.Sequence}
	if err := json.Unmarshal(m.Data, &event); err == nil {
		r.destination, r.reason, r.life = event.Data.Destination, event.Data.Reason, event.Data.DeclaredAt
		r.source = event.Data.Source.Subject
	} else {
		// Not published by this stage. The subject says what it claims to be, and it counts as old.
		kind, _, _ := schema.SplitSubject(m.Subject)
		r.destination, r.reason = schema.Destination(kind), schema.Reason(kind)
	}
	return r
}
