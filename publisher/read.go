package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// family matches the stored outcomes that exclude o.
func family(o schema.Outcome) string {
	if o.Reason == schema.InvalidMessage {
		return o.Subject()
	}
	return schema.OutcomeSubjects(o.Identifier)
}

// Outcomes reads what is stored on the outcome subjects of an interaction, the newest on each, from the stream's
// leader. The error says that the broker could not be asked.
func (p *Publisher) Outcomes(ctx context.Context, identifier string) ([]lifecycle.Outcome, error) {
	all := schema.Outcome{Identifier: identifier}
	bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	// Most interactions have none: one request tells.
	_, err := p.broker.Last(bounded, schema.StreamOutcomes, family(all))
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading which outcomes %s has: %w", identifier, err)
	}
	found, err := p.stored(ctx, all)
	return found.Outcomes, err
}

// stored reads the newest outcome on each subject of the family of o, from the stream's leader.
func (p *Publisher) stored(ctx context.Context, o schema.Outcome) (lifecycle.Snapshot, error) {
	bounded, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	var found lifecycle.Snapshot
	subjects, err := p.broker.Subjects(bounded, schema.StreamOutcomes, family(o))
	if err != nil {
		return found, fmt.Errorf("reading which outcomes %s has: %w", o.Identifier, err)
	}
	for subject := range subjects {
		m, err := p.broker.Last(bounded, schema.StreamOutcomes, subject)
		if errors.Is(err, broker.ErrNotFound) {
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
		// Invalid messages of several declared subjects share this one, in whatever order they came. A dead letter of
		// this one, or of a newer one by its subject, came after it was declared, and soon; what came long after may be
		// too much to be read, but then the broker still knows the ID of one that is there.
		recent, err := p.since(ctx, o.Origin.Stored, m)
		if err != nil {
			return found, err
		}
		found.Outcomes = append(found.Outcomes, recent...)
	}
	return found, nil
}

// unfinished gives the processed events that belong to a stored success of the same generation as a dead letter.
func (p *Publisher) unfinished(
	ctx context.Context, dropped schema.Outcome, success lifecycle.Outcome,
) ([]schema.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	m, err := p.broker.Get(ctx, schema.StreamOutcomes, success.Sequence)
	if errors.Is(err, broker.ErrNotFound) {
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

// clocksApart is how far the clocks of two servers of a cluster may be from each other, each of which has stamped
// messages.
const clocksApart = time.Minute

// maxSince bounds how much is read of what was stored on a subject since some time.
const maxSince = 50

// since reads what was stored on a subject from some time on, up to [maxSince] of it, in a number of requests that
// hardly grows with what was stored before. The last one stored there is given.
func (p *Publisher) since(
	ctx context.Context, from time.Time, last broker.Message,
) (found []lifecycle.Outcome, err error) {
	next := func(sequence uint64) (broker.Message, error) {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout) // each, because they are many
		defer cancel()
		m, err := p.broker.Next(ctx, schema.StreamOutcomes, last.Subject, sequence)
		if err != nil && !errors.Is(err, broker.ErrNotFound) {
			return m, fmt.Errorf("reading outcome %s: %w", last.Subject, err)
		}
		return m, err
	}
	from = from.Add(-clocksApart)
	// What is before low is older; what is there from high on is not, if anything is.
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
		found, low = append(found, readOutcome(m)), m.Sequence+1
	}
	return found, nil
}

func readOutcome(m broker.Message) lifecycle.Outcome {
	return lifecycle.ReadOutcome(m.Subject, m.Sequence, m.Time, m.Data)
}
