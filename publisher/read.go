package publisher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// family returns the filter of the stored outcomes that may exclude o.
func (p *Publisher) family(o schema.Outcome) string {
	if o.Reason == schema.InvalidMessage {
		return p.names.OutcomeSubject(o)
	}
	return p.names.OutcomeSubjects(o.Identifier)
}

// Outcomes reads the stored outcomes of an interaction, the newest on each subject, from the stream's leader.
func (p *Publisher) Outcomes(ctx context.Context, identifier string) ([]lifecycle.Outcome, error) {
	all := schema.Outcome{Identifier: identifier}
	bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	// Most interactions have no outcome: then this is the only request.
	_, err := p.broker.Last(bounded, p.names.StreamOutcomes(), p.family(all))
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the outcomes of %s: %w", identifier, err)
	}
	found, err := p.stored(ctx, all)
	return found.Outcomes, err
}

// stored reads the newest outcome on each subject of the family of o, from the stream's leader.
func (p *Publisher) stored(ctx context.Context, o schema.Outcome) (lifecycle.Snapshot, error) {
	bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	var found lifecycle.Snapshot
	subjects, err := p.broker.Subjects(bounded, p.names.StreamOutcomes(), p.family(o))
	if err != nil {
		return found, fmt.Errorf("reading the outcomes of %s: %w", o.Identifier, err)
	}
	for _, subject := range slices.Sorted(maps.Keys(subjects)) {
		m, err := p.broker.Last(bounded, p.names.StreamOutcomes(), subject)
		if errors.Is(err, broker.ErrNotFound) {
			continue
		}
		if err != nil {
			return found, fmt.Errorf("reading outcome %s: %w", subject, err)
		}
		r := p.readOutcome(m)
		found.Outcomes = append(found.Outcomes, r)
		if o.Reason != schema.InvalidMessage || r.Source == o.Origin.Subject {
			continue
		}
		// Invalid messages from several declared subjects share this subject, in any order. A dead letter that settles
		// the wanted one was stored soon after its message. There may be too many later ones to read them all, but then
		// the broker still knows the ID of a stored dead letter.
		recent, err := p.since(ctx, o.Origin.Stored, m)
		if err != nil {
			return found, err
		}
		found.Outcomes = append(found.Outcomes, recent...)
	}
	return found, nil
}

// allProcessed returns all processed events of a generation, built from the one that is stored (success). dropped is
// the dead letter that they replace. Only on a stream without atomic batches can one be stored without the others.
func (p *Publisher) allProcessed(
	ctx context.Context, dropped schema.Outcome, success lifecycle.Outcome,
) ([]schema.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m, err := p.broker.Get(ctx, p.names.StreamOutcomes(), success.Sequence)
	if err != nil { // also if it is not found: it was deleted meanwhile, or this read is older than the one before
		return nil, fmt.Errorf("reading outcome %s: %w", success.Subject, err)
	}
	stored, err := schema.ReadProcessed(m.Data)
	if err != nil || stored.Identifier != dropped.Identifier || stored.Type != dropped.Type {
		return nil, nil // a foreign message
	}
	var rest []schema.Outcome
	for _, to := range dropped.Success {
		o := stored
		o.Destination = to
		rest = append(rest, o)
	}
	return rest, nil
}

// maxClockSkew is the maximum difference between the clocks of two servers of a cluster, which both stamp messages.
const maxClockSkew = time.Minute

// maxSince is the maximum number of messages that since reads.
const maxSince = 50

// since reads the first [maxSince] messages that were stored on the subject of last since a time. Last is the last
// message there. The number of requests grows only with the logarithm of the number of earlier messages.
func (p *Publisher) since(
	ctx context.Context, from time.Time, last broker.Message,
) (found []lifecycle.Outcome, err error) {
	next := func(sequence uint64) (broker.Message, error) {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		m, err := p.broker.Next(ctx, p.names.StreamOutcomes(), last.Subject, sequence)
		if err != nil && !errors.Is(err, broker.ErrNotFound) {
			return m, fmt.Errorf("reading outcome %s: %w", last.Subject, err)
		}
		return m, err
	}
	from = from.Add(-maxClockSkew)
	// Binary search: messages before low are older than from, those from high on are not.
	low, high := uint64(1), last.Sequence+1
	for low < high {
		middle := low + (high-low)/2
		switch m, err := next(middle); {
		case errors.Is(err, broker.ErrNotFound):
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
		if errors.Is(err, broker.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		found, low = append(found, p.readOutcome(m)), m.Sequence+1
	}
	return found, nil
}

func (p *Publisher) readOutcome(m broker.Message) lifecycle.Outcome {
	return lifecycle.ReadOutcome(p.names, m.Subject, m.Sequence, m.Time, m.Data)
}
