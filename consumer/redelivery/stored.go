package redelivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// readAgain is how old a snapshot may be when the worker acts on it.
const readAgain = 2 * time.Second

// maxFresh is the age up to which a declared message is not compared with those under other types. Of several that are
// declared within that time, the broker accepts the reservation of one.
const maxFresh = time.Second

// stored reads what is stored for an interaction, from the leaders of the streams.
type stored struct{ Config }

// around reads the outcomes of a declared message's interaction. Unless they decide, it also reads the first declared
// message of the interaction, under any type, if that may be older.
func (s *stored) around(ctx context.Context, d *Delivery) (lifecycle.Snapshot, error) {
	var snapshot lifecycle.Snapshot
	var err error
	if snapshot.Outcomes, err = s.Outcomes.Outcomes(ctx, d.Identifier); err != nil {
		return snapshot, err
	}
	declared := d.declared()
	if verdict, _ := snapshot.TakeIn(declared); verdict != lifecycle.Reserve || !declared.Replays.IsZero() {
		return snapshot, nil // other declared messages do not matter
	}
	age := s.Clock.Now().Sub(d.At.Generation)
	if age < maxFresh && d.Origin.Deliveries <= 1 {
		return snapshot, nil
	}
	snapshot.Declared, err = s.first(ctx, d.Identifier)
	return snapshot, err
}

// first reads the first declared message of an interaction, under any type; nil if there is none.
func (s *stored) first(ctx context.Context, identifier string) (*lifecycle.Declared, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	m, err := s.Broker.Next(ctx, s.Namespace.StreamDeclared(), s.Namespace.DeclaredSubjects(identifier), 1)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the declared messages of %s: %w", identifier, err)
	}
	_, invalid := s.Namespace.DecodeFrom(m.Subject, m.Data)
	return &lifecycle.Declared{Subject: m.Subject, Stored: m.Time, Invalid: invalid != nil}, nil
}

// polls reads the reservation and the last due message of an interaction into a snapshot. A due message under an
// unknown type is ignored, because no worker receives it.
func (s *stored) polls(ctx context.Context, identifier string, to *lifecycle.Snapshot) (err error) {
	if to.Reservation, err = s.reservation(ctx, identifier); err != nil {
		return err
	}
	to.Due, to.Ignored = nil, 0
	last, err := s.last(ctx, s.Namespace.PollSubjects(identifier))
	if err != nil || last == nil {
		return err
	}
	if typ, _, _ := s.Namespace.SplitSubject(last.Subject); schema.Type(typ).Valid() {
		to.Due = reserved(last)
		return nil
	}
	to.Ignored = last.Sequence
	for _, t := range schema.Types() {
		m, err := s.last(ctx, s.Namespace.PollSubject(t, identifier))
		if err != nil {
			return err
		}
		if m != nil && (to.Due == nil || m.Sequence > to.Due.Sequence) {
			to.Due = reserved(m)
		}
	}
	return nil
}

// reservation reads the reservation of an interaction; nil if there is none.
func (s *stored) reservation(ctx context.Context, identifier string) (*lifecycle.Reserved, error) {
	m, err := s.last(ctx, s.Namespace.HoldSubjects(identifier))
	if err != nil || m == nil {
		return nil, err
	}
	return reserved(m), nil
}

func reserved(m *broker.Message) *lifecycle.Reserved {
	r := lifecycle.ReadReserved(m.Header, m.Sequence, m.Time)
	return &r
}

// last reads the last message on subjects of the polls stream; nil if there is none.
func (s *stored) last(ctx context.Context, subjects string) (*broker.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	stream := s.Namespace.StreamPolls()
	m, err := s.Broker.Last(ctx, stream, subjects)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the last message on %s in stream %s: %w", subjects, stream, err)
	}
	return &m, nil
}
