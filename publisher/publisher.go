package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/schema"
	"statusworker/schema/lifecycle"
	"statusworker/schema/topology"
)

// attemptTimeout is how long one publish waits for its ack. After that its fate is unknown, and it is made again.
const attemptTimeout = 3 * time.Second

// Publisher publishes outcomes. It is safe for concurrent use.
type Publisher struct {
	js       jetstream.JetStream
	outcomes jetstream.Stream
	log      logrus.FieldLogger
	letters  *sparingly

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
	// Repeated outcomes were not needed: they were there already, from an earlier attempt or worker, or the interaction has
	// ended in another generation.
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

// Publish stores the outcomes of one interaction: one dead letter, or one or more processed events. It returns nil when
// the broker has acknowledged all of them, or had them already, or holds an outcome that contradicts them, which is
// kept. Where that is a processed event of the same generation, the processed events that go with it (see
// [schema.Outcome.Success]) are published from what it says, should they be missing: whoever stored it may have come to
// its end before it could store the others. Publish tries again with growing delays until ctx ends, and returns the last
// error then; the caller repeats the same call later.
func (p *Publisher) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	wanted, todo := outcomes, outcomes
	var expected uint64
	var last error
	attempt := func() (err error) {
		defer func() {
			if ctx.Err() == nil || last == nil { // when time is up, what went wrong before says more
				last = err
			}
		}()
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
			plan := found.Publish(wanted...)
			if plan.HalfSuccess {
				rest, err := p.unfinished(ctx, o, plan.By)
				if err != nil {
					return err
				}
				if len(rest) > 0 {
					whole := found.Publish(rest...)
					if whole.Verdict == lifecycle.Store {
						p.logOther(o, plan.By).Warn("completing the processed events of an interaction that has failed since")
						wanted, todo, expected = rest, whole.Missing, whole.Expected
						continue
					}
				}
			}
			switch plan.Verdict {
			case lifecycle.Contradicted:
				p.contradictions.Add(1)
				p.logOther(o, plan.By).Warn("contradicting outcome dropped")
				todo = nil
				return nil
			case lifecycle.Superseded:
				p.repeated.Add(uint64(len(todo)))
				p.logOther(o, plan.By).Debug("outcome dropped: the interaction has ended in another generation")
				todo = nil
				return nil
			}
			p.repeated.Add(uint64(max(0, len(todo)-len(plan.Missing))))
			progress := len(plan.Missing) < len(todo) || plan.Expected != expected
			todo, expected = plan.Missing, plan.Expected
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

// logOther begins a log line about an outcome that is not stored, because of another one.
func (p *Publisher) logOther(dropped schema.Outcome, by lifecycle.Outcome) *logrus.Entry {
	return p.log.WithFields(logrus.Fields{
		"interaction": dropped.Identifier, "stored": by.Subject, "sequence": by.Sequence, "dropped": dropped.Subject(),
	})
}

// unfinished gives the processed events that belong to a stored success of the same generation as a dead letter.
func (p *Publisher) unfinished(ctx context.Context, dropped schema.Outcome, success lifecycle.Outcome) ([]schema.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m, err := p.outcomes.GetMsg(ctx, success.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil // it is too old to be kept, or somebody has deleted it
	}
	if err != nil {
		return nil, fmt.Errorf("reading outcome %s: %w", success.Subject, err)
	}
	stored, err := schema.ReadProcessed(m.Data)
	if err != nil || stored.Identifier != dropped.Identifier || stored.Type != dropped.Type {
		return nil, nil // somebody else has published it, and nobody knows what else that means
	}
	var rest []schema.Outcome
	for _, to := range dropped.Success {
		o := stored
		o.Destination = to
		rest = append(rest, o)
	}
	return rest, nil
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
	condition := jetstream.WithExpectLastSequenceForSubject(expected, family(o))
	ack, err := p.js.PublishMsg(ctx, m, jetstream.WithMsgID(o.ID()), condition)
	if err == nil && ack.Duplicate {
		// The broker remembers that it was published, and not whether somebody has deleted it.
		if _, gone := p.outcomes.GetMsg(ctx, ack.Sequence); errors.Is(gone, jetstream.ErrMsgNotFound) {
			m.Header.Del(jetstream.MsgIDHeader)
			ack, err = p.js.PublishMsg(ctx, m, condition)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("publishing outcome %s: %w", m.Subject, err)
	}
	if ack.Duplicate {
		p.repeated.Add(1)
	} else {
		p.published.Add(1)
		p.byKind[string(o.Destination)+string(o.Reason)].Add(1) // one of them is empty
		p.logStored(o)
	}
	return ack.Sequence, nil
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

// family matches the stored outcomes that exclude o.
func family(o schema.Outcome) string {
	if o.Reason == schema.InvalidMessage {
		return o.Subject()
	}
	return schema.OutcomeSubjects(o.Identifier)
}

// stored reads the newest outcome on each subject of the family of o, from the stream's leader.
func (p *Publisher) stored(ctx context.Context, o schema.Outcome) (lifecycle.Snapshot, error) {
	bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	var found lifecycle.Snapshot
	info, err := p.outcomes.Info(bounded, jetstream.WithSubjectFilter(family(o)))
	if err != nil {
		return found, fmt.Errorf("reading which outcomes %s has: %w", o.Identifier, err)
	}
	for subject := range info.State.Subjects {
		m, err := p.outcomes.GetLastMsgForSubject(bounded, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return found, fmt.Errorf("reading outcome %s: %w", subject, err)
		}
		r := readOutcome(m)
		found.Outcomes = append(found.Outcomes, r)
		if o.Reason != schema.InvalidMessage || r.Source == o.Origin.Subject {
			continue
		}
		// Invalid messages of several declared subjects share this one, in whatever order they came. A dead letter of this
		// one, or of a newer one by its subject, came after it was declared, and soon; what came long after may be too much
		// to be read, but then the broker still knows the Nats-Msg-Id of one that is there.
		recent, err := p.since(ctx, o.Origin.Stored, m)
		if err != nil {
			return found, err
		}
		found.Outcomes = append(found.Outcomes, recent...)
	}
	return found, nil
}

// Outcomes reads what is stored on the outcome subjects of an interaction, the newest on each, from the stream's leader. The
// error says that the broker could not be asked.
func (p *Publisher) Outcomes(ctx context.Context, identifier string) ([]lifecycle.Outcome, error) {
	all := schema.Outcome{Identifier: identifier}
	bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	// Most interactions have none: one request tells.
	_, err := p.outcomes.GetLastMsgForSubject(bounded, family(all))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading which outcomes %s has: %w", identifier, err)
	}
	found, err := p.stored(ctx, all)
	return found.Outcomes, err
}

// clocksApart is how far the clocks of two servers of a cluster may be from each other, each of which has stamped messages.
const clocksApart = time.Minute

// maxSince bounds how much is read of what was stored on a subject since some time.
const maxSince = 50

// since reads what was stored on a subject from some time on, up to [maxSince] of it, in a number of requests that hardly
// grows with what was stored before. The last one stored there is given.
func (p *Publisher) since(ctx context.Context, from time.Time, last *jetstream.RawStreamMsg) (found []lifecycle.Outcome, err error) {
	next := func(sequence uint64) (*jetstream.RawStreamMsg, error) {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout) // each, because they are many
		defer cancel()
		m, err := p.outcomes.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(last.Subject))
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, fmt.Errorf("reading outcome %s: %w", last.Subject, err)
		}
		return m, err
	}
	from = from.Add(-clocksApart)
	low, high := uint64(1), last.Sequence+1 // what is before low is older; what is there from high on is not, if anything is
	for low < high {
		middle := low + (high-low)/2
		switch m, err := next(middle); {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			high = middle
		case err != nil:
			return nil, err
		case m.Time.Before(from):
			low = m.Sequence + 1
		default:
			high = middle
		}
	}
	for len(found) < maxSince {
		m, err := next(low)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		found, low = append(found, readOutcome(m)), m.Sequence+1
	}
	return found, nil
}

func readOutcome(m *jetstream.RawStreamMsg) lifecycle.Outcome {
	return lifecycle.ReadOutcome(m.Subject, m.Sequence, m.Time, m.Data)
}
