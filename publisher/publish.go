package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// Publish stores the outcomes of one interaction: one dead letter, or one or more processed events. It returns nil when
// each of them is stored, by this or an earlier call, or when a contradicting outcome is stored, which is kept.
//
// If a dead letter contradicts a stored processed event of the same generation, Publish also stores the processed
// events that belong to it (see [schema.Outcome.Success]): the worker that stored the first may have ended before the
// others.
//
// Publish retries with exponential backoff until ctx ends. It then returns the last error; the caller repeats the same
// call later.
func (p *Publisher) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	run := &publishing{Publisher: p, wanted: outcomes, todo: outcomes}
	var last error
	attempt := func() error {
		err := run.attempt(ctx)
		if ctx.Err() == nil || last == nil { // an earlier error explains more than the end of ctx
			last = err
		}
		return err
	}
	policy := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	err := backoff.RetryNotify(attempt, backoff.WithContext(policy, ctx),
		func(error, time.Duration) { p.retries.Add(1) })
	switch {
	case err == nil || last == nil:
		return err
	case errors.Is(last, err):
		return last // it names the outcome
	}
	return fmt.Errorf("%w: %w", err, last)
}

// publishing is one call of Publish, over all its attempts.
type publishing struct {
	*Publisher
	// wanted are the outcomes to be stored, todo those of them that are not known to be stored.
	wanted, todo []schema.Outcome
	// expected is the sequence of the last known outcome of the interaction.
	expected uint64
}

// attempt stores the outcomes in todo. It returns nil when none is left.
func (p *publishing) attempt(ctx context.Context) error {
	for len(p.todo) > 0 {
		sequence, err := p.store(ctx, p.todo[0], p.expected)
		switch {
		case err == nil:
			p.expected, p.todo = sequence, p.todo[1:]
			continue
		case errors.Is(err, broker.ErrTooLarge):
			return backoff.Permanent(err)
		case !errors.Is(err, broker.ErrRefused):
			return err
		}
		found, err := p.stored(ctx, p.todo[0])
		if err != nil {
			return err
		}
		plan := found.Publish(p.wanted...)
		if plan.HalfSuccess {
			rest, err := p.unfinished(ctx, p.todo[0], plan.By)
			if err != nil {
				return err
			}
			if whole := completion(found, rest); whole.Verdict == lifecycle.Store {
				p.logOther(p.todo[0], plan.By).Warn("dead letter dropped; missing processed events are stored instead")
				p.wanted, p.todo, p.expected = rest, whole.Missing, whole.Expected
				continue
			}
		}
		if err := p.follow(plan); err != nil {
			return err
		}
	}
	return nil
}

// completion plans the processed events that belong to a stored one. The verdict is empty if there are none.
func completion(found lifecycle.Snapshot, rest []schema.Outcome) lifecycle.Plan {
	if len(rest) == 0 {
		return lifecycle.Plan{}
	}
	return found.Publish(rest...)
}

// follow applies a plan to todo.
func (p *publishing) follow(plan lifecycle.Plan) error {
	o := p.todo[0]
	switch plan.Verdict {
	case lifecycle.Contradicted:
		p.contradictions.Add(1)
		p.logOther(o, plan.By).Warn("outcome dropped; the opposite outcome is stored")
		p.todo = nil
		return nil
	case lifecycle.Superseded:
		p.repeated.Add(uint64(len(p.todo)))
		p.logOther(o, plan.By).Debug("outcome dropped; the interaction has a later one")
		p.todo = nil
		return nil
	}
	p.repeated.Add(uint64(max(0, len(p.todo)-len(plan.Missing))))
	progress := len(plan.Missing) < len(p.todo) || plan.Expected != p.expected
	p.todo, p.expected = plan.Missing, plan.Expected
	if !progress {
		// A replicated stream refuses a publish while another one is in flight.
		return fmt.Errorf("publishing outcome %s: %w", o.Subject(), errBusy)
	}
	return nil
}

var errBusy = errors.New("the broker refuses it while another publish is in flight")

// store publishes one outcome, on the condition that the last outcome of its interaction has the expected sequence. The
// error names the subject.
func (p *Publisher) store(ctx context.Context, o schema.Outcome, expected uint64) (uint64, error) {
	data, err := o.Marshal()
	if err != nil {
		return 0, backoff.Permanent(err)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m := broker.Publication{
		Subject: o.Subject(), Data: data, Header: broker.Header{"Content-Type": {schema.ContentTypeCloudEvent}},
		ID: o.ID(), If: broker.Condition{Subjects: family(o), Last: expected},
	}
	if t := o.Origin.Traceparent; t != "" {
		m.Header.Set(schema.HeaderTraceparent, t)
	}
	ack, err := p.broker.Publish(ctx, m)
	if err == nil && ack.Duplicate {
		// The broker remembers the ID of a message even after the message was deleted.
		_, getErr := p.broker.Get(ctx, schema.StreamOutcomes, ack.Sequence)
		if errors.Is(getErr, broker.ErrNotFound) {
			m.ID = ""
			ack, err = p.broker.Publish(ctx, m)
		}
	}
	if err != nil {
		return 0, err
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
