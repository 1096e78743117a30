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
// events that belong to it (see [schema.Outcome.Success]): on a stream without atomic batches, the worker that stored
// the first may have ended before the others.
//
// Publish retries with exponential backoff until ctx ends. It then returns the last error; the caller repeats the same
// call later. It returns at once the error of an outcome that can never be stored: one that cannot be encoded, or is
// too large for the broker.
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
	// withoutIDs omits the message IDs of a batch, because the broker remembers that of a deleted message.
	withoutIDs bool
}

// attempt stores the outcomes in todo. It returns nil when none is left.
func (p *publishing) attempt(ctx context.Context) error {
	for len(p.todo) > 0 {
		err := p.store(ctx)
		duplicate := errors.Is(err, broker.ErrDuplicate)
		switch {
		case err == nil:
			continue
		case errors.Is(err, broker.ErrTooLarge):
			return backoff.Permanent(err)
		case errors.Is(err, broker.ErrUnsupported):
			p.batches.Store(false)
			continue
		case !duplicate && !errors.Is(err, broker.ErrRejected):
			return err
		}
		p.withoutIDs = p.withoutIDs || duplicate
		subject := p.names.OutcomeSubject(p.todo[0])
		progress, err := p.reconcile(ctx)
		if err != nil {
			return err
		}
		if !progress && !duplicate {
			// A replicated stream rejects a publish while another one is in flight.
			return fmt.Errorf("publishing outcome %s: %w", subject, errBusy)
		}
	}
	return nil
}

var errBusy = errors.New("the broker rejects it while another publish is in flight")

// reconcile reads the stored outcomes, and sets todo to what is missing. It reports whether that is less than before,
// or has another condition.
func (p *publishing) reconcile(ctx context.Context) (progress bool, err error) {
	found, err := p.stored(ctx, p.todo[0])
	if err != nil {
		return false, err
	}
	plan := found.Publish(p.wanted...)
	if plan.HalfSuccess {
		rest, err := p.allProcessed(ctx, p.todo[0], plan.By)
		if err != nil {
			return false, err
		}
		if whole := completion(found, rest); whole.Verdict == lifecycle.Store {
			p.logOther(p.todo[0], plan.By).Warn("dead letter dropped; publishing the missing processed events instead")
			p.wanted, p.todo, p.expected = rest, whole.Missing, whole.Expected
			return true, nil
		}
	}
	return p.follow(plan), nil
}

// completion plans the processed events that belong to a stored one. The verdict is empty if there are none.
func completion(found lifecycle.Snapshot, rest []schema.Outcome) lifecycle.Plan {
	if len(rest) == 0 {
		return lifecycle.Plan{}
	}
	return found.Publish(rest...)
}

// follow applies a plan to todo, and reports whether that changes todo or its condition.
func (p *publishing) follow(plan lifecycle.Plan) (progress bool) {
	o := p.todo[0]
	switch plan.Verdict {
	case lifecycle.Contradicted:
		p.contradictions.Add(1)
		p.logOther(o, plan.By).Warn("outcome dropped; the generation has ended with another outcome")
		p.todo = nil
		return true
	case lifecycle.Superseded:
		p.repeated.Add(uint64(len(p.todo)))
		p.logOther(o, plan.By).Debug("outcome dropped; the interaction has ended in another generation")
		p.todo = nil
		return true
	}
	p.repeated.Add(uint64(max(0, len(p.todo)-len(plan.Missing))))
	progress = len(plan.Missing) < len(p.todo) || plan.Expected != p.expected
	p.todo, p.expected = plan.Missing, plan.Expected
	return progress
}

// store publishes the outcomes in todo in one batch, or, if the stream does not store batches, the first of them. It
// removes what it has stored from todo.
func (p *publishing) store(ctx context.Context) error {
	n := 1
	if p.batches.Load() {
		n = len(p.todo)
	}
	next := make([]broker.Publication, n)
	for i := range next {
		var err error
		if next[i], err = p.publication(p.todo[i]); err != nil {
			return backoff.Permanent(err)
		}
		if n > 1 && p.withoutIDs {
			next[i].ID = ""
		}
	}
	next[0].If = broker.Condition{Subjects: p.family(p.todo[0]), Last: p.expected}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	var ack broker.Ack
	var err error
	if n > 1 {
		ack, err = p.broker.PublishAll(ctx, next)
	} else {
		ack, err = p.storeOne(ctx, next[0])
	}
	if err != nil {
		return err
	}
	for _, o := range p.todo[:n] {
		p.count(o, ack.Duplicate)
	}
	p.todo, p.expected = p.todo[n:], ack.Sequence
	return nil
}

// publication returns the message of an outcome, without a condition.
func (p *Publisher) publication(o schema.Outcome) (broker.Publication, error) {
	data, err := o.Marshal()
	if err != nil {
		return broker.Publication{}, err
	}
	m := broker.Publication{
		Subject: p.names.OutcomeSubject(o), Data: data,
		Header: broker.Header{"Content-Type": {schema.ContentTypeCloudEvent}},
		ID:     o.ID(),
	}
	if t := o.Origin.Traceparent; t != "" {
		m.Header.Set(schema.HeaderTraceparent, t)
	}
	return m, nil
}

// storeOne publishes one outcome. If the broker reports a duplicate, the earlier message is still stored: if that was
// deleted, storeOne publishes again without an ID.
func (p *Publisher) storeOne(ctx context.Context, m broker.Publication) (broker.Ack, error) {
	ack, err := p.broker.Publish(ctx, m)
	if err == nil && ack.Duplicate {
		// The broker remembers the ID of a message even after the message was deleted.
		_, getErr := p.broker.Get(ctx, p.names.StreamOutcomes(), ack.Sequence)
		if errors.Is(getErr, broker.ErrNotFound) {
			m.ID = ""
			return p.broker.Publish(ctx, m)
		}
	}
	return ack, err
}

// count counts an outcome that is stored, by this publish or, as a duplicate, by an earlier one.
func (p *Publisher) count(o schema.Outcome, duplicate bool) {
	if duplicate {
		p.repeated.Add(1)
		return
	}
	p.published.Add(1)
	p.byKind[string(o.Destination)+string(o.Reason)].Add(1) // one of them is empty
	p.logStored(o)
}
