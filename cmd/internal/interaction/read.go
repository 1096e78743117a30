package interaction

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// stored is what is stored for one interaction.
type stored struct {
	lifecycle.Snapshot
	// problem is why the declared message is not valid, or nil.
	problem error
	// polls are the reservation and the due message, by sequence.
	polls map[uint64]broker.Message
	// events are the data of outcomes, by sequence.
	events map[uint64][]byte
}

// read reads what is stored for an interaction, in the order that [lifecycle.Snapshot.Where] requires.
func (f *Finder) read(ctx context.Context, identifier string) (s stored, err error) {
	s.polls, s.events = map[uint64]broker.Message{}, map[uint64][]byte{}
	if err := f.readDeclared(ctx, identifier, &s); err != nil {
		return s, fmt.Errorf("reading the declared message of %s: %w", identifier, err)
	}
	if f.reservations {
		if err := f.readPolls(ctx, identifier, &s); err != nil {
			return s, fmt.Errorf("reading the next poll of %s: %w", identifier, err)
		}
	}
	if err := f.readOutcomes(ctx, identifier, &s); err != nil {
		return s, fmt.Errorf("reading the outcomes of %s: %w", identifier, err)
	}
	return s, nil
}

func (f *Finder) readDeclared(ctx context.Context, identifier string, s *stored) error {
	m, err := f.broker.Next(ctx, f.names.StreamDeclared(), f.names.DeclaredSubjects(identifier), 1)
	if errors.Is(err, broker.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, s.problem = f.names.DecodeFrom(m.Subject, m.Data)
	s.Declared = &lifecycle.Declared{
		Subject: m.Subject, Stored: m.Time, Replays: lifecycle.ReadReplays(m.Header), Invalid: s.problem != nil,
	}
	typ := f.typeOf(m.Subject)
	if f.reservations || typ == "" {
		return nil
	}
	lane, err := f.broker.Consumer(ctx, f.names.StreamDeclared(), f.names.PollConsumer(typ))
	if err != nil && !errors.Is(err, broker.ErrConsumerNotFound) {
		return err
	}
	s.Declared.Delivered = m.Sequence <= lane.Delivered
	return nil
}

// readPolls reads the reservation and the due message. The first read is of both, because an interaction alternates
// between them.
func (f *Finder) readPolls(ctx context.Context, identifier string, s *stored) error {
	for _, subjects := range []string{f.names.WaitingSubjects(identifier), f.names.PollSubjects(identifier)} {
		m, err := f.broker.Last(ctx, f.names.StreamPolls(), subjects)
		if errors.Is(err, broker.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		r := lifecycle.ReadReserved(m.Header, m.Sequence, m.Time)
		s.polls[m.Sequence] = m
		if f.names.IsPollSubject(m.Subject) {
			s.Due = &r
			return nil
		}
		s.Reservation = &r
	}
	return nil
}

func (f *Finder) readOutcomes(ctx context.Context, identifier string, s *stored) error {
	all := f.names.OutcomeSubjects(identifier)
	_, err := f.broker.Last(ctx, f.names.StreamOutcomes(), all)
	if errors.Is(err, broker.ErrNotFound) {
		return nil // the usual case of an interaction that waits
	}
	if err != nil {
		return err
	}
	subjects, err := f.broker.Subjects(ctx, f.names.StreamOutcomes(), all)
	if err != nil {
		return err
	}
	for _, subject := range slices.Sorted(maps.Keys(subjects)) {
		m, err := f.broker.Last(ctx, f.names.StreamOutcomes(), subject)
		if errors.Is(err, broker.ErrNotFound) {
			continue // replayed or purged meanwhile
		}
		if err != nil {
			return err
		}
		s.Outcomes = append(s.Outcomes, lifecycle.ReadOutcome(f.names, m.Subject, m.Sequence, m.Time, m.Data))
		s.events[m.Sequence] = m.Data
	}
	slices.SortFunc(s.Outcomes, func(a, b lifecycle.Outcome) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return nil
}

// typeOf returns the type in a subject, or an empty one.
func (f *Finder) typeOf(subject string) schema.Type {
	kind, _, _ := f.names.SplitSubject(subject)
	if t := schema.Type(kind); t.Valid() {
		return t
	}
	return ""
}
