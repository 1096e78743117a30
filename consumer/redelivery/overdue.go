package redelivery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// A server publishes a due message within a second of the time of its reservation. If it cannot store the message
// because of a storage limit, it marks the schedule as in progress. nats-server 2.15.3 and earlier retry only after a
// restart or a change of the stream's leader. A reservation that is replaced loses the mark, so workers search for
// overdue reservations and store them again.

// OverdueAfter is how long after its time a reservation counts as overdue by default.
const OverdueAfter = time.Minute

const (
	// overdueMisses is how many reservations that are not overdue a search may read.
	overdueMisses = 5
	// overdueBatch is how many are read before they are stored again.
	overdueBatch = 100
)

// Overdue is a reservation that the broker did not publish at its time.
type Overdue struct {
	lifecycle.Reserved
	Message broker.Message
}

// OverdueBroker is what [FindOverdue] asks of the broker.
type OverdueBroker interface {
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
	Get(ctx context.Context, stream string, sequence uint64) (broker.Message, error)
	Next(ctx context.Context, stream, subjects string, from uint64) (broker.Message, error)
}

// FindOverdue finds reservations that are overdue at a time of the broker's clock, in the order in which they were
// stored. It reads few others, however many there are: a reservation is stored before its time, so the search ends at
// the first one that is too young. It ends also after some that are not due yet. These leave the front of the stream at
// their time, and a later search finds those behind them.
func FindOverdue(
	ctx context.Context, b OverdueBroker, n schema.Namespace, now time.Time, after time.Duration,
) iter.Seq2[Overdue, error] {
	return func(yield func(Overdue, error) bool) {
		s := overdueSearch{broker: b, names: n, before: now.Add(-after)}
		if err := s.begin(ctx); err != nil {
			yield(Overdue{}, err)
			return
		}
		for misses := 0; misses < overdueMisses; {
			m, err := s.next(ctx)
			if err != nil {
				yield(Overdue{}, err)
				return
			}
			if m == nil || !m.Time.Before(s.before) {
				return
			}
			o := Overdue{Reserved: lifecycle.ReadReserved(m.Header, m.Sequence, m.Time), Message: *m}
			switch {
			case o.Due.IsZero(): // not a schedule
			case !o.Due.Before(s.before):
				misses++
			case !yield(o, nil):
				return
			}
		}
	}
}

// overdueSearch reads reservations in the order in which they were stored. It never asks for the first one from the
// beginning of the stream: for that, the broker searches all subjects, which takes 0.3 s for 700,000 reservations. From
// behind the stream's first message it takes less than a millisecond.
type overdueSearch struct {
	broker OverdueBroker
	names  schema.Namespace
	before time.Time

	first *broker.Message // the stream's first message, if it is a reservation that was not returned yet
	seq   uint64          // where to continue; 0 if nothing is old enough
}

func (s *overdueSearch) begin(ctx context.Context) error {
	state, err := s.broker.Stream(ctx, s.names.StreamPolls())
	if err != nil {
		return err
	}
	if state.Messages == 0 || !state.FirstTime.Before(s.before) {
		return nil
	}
	m, err := s.broker.Get(ctx, s.names.StreamPolls(), state.First)
	if err != nil && !errors.Is(err, broker.ErrNotFound) {
		return fmt.Errorf("reading the first message of %s: %w", s.names.StreamPolls(), err)
	}
	s.seq = state.First + 1
	if err == nil && !s.names.IsPollSubject(m.Subject) {
		s.first = &m
		return nil
	}
	// Workers are handling due messages at the front of the stream. The search begins so far behind them that it is not
	// overtaken. A later search finds what it skips.
	next, err := s.broker.Stream(ctx, s.names.StreamPolls())
	if err != nil {
		return err
	}
	if next.First > state.First {
		s.seq += 10 * (next.First - state.First)
	}
	return nil
}

// next returns nil at the end.
func (s *overdueSearch) next(ctx context.Context) (*broker.Message, error) {
	if s.seq == 0 {
		return nil, nil
	}
	m := s.first
	if s.first = nil; m == nil {
		found, err := s.broker.Next(ctx, s.names.StreamPolls(), s.names.SubjectsHold(), s.seq)
		if errors.Is(err, broker.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the first reservation from sequence %d on: %w", s.seq, err)
		}
		m = &found
	}
	s.seq = m.Sequence + 1
	return m, nil
}

// StoreAgain stores overdue reservations again, to fall due in a moment, each on the condition that it is still stored.
// If several are not, it ends: another worker does the same, or they have fallen due.
func (r *Reservations) StoreAgain(ctx context.Context) (stored int, err error) {
	if err := r.sureOfTime(ctx); err != nil {
		return 0, err
	}
	for replaced := 0; ; {
		// They are read first, because replacing the stream's first message would invalidate the search.
		batch, err := r.overdue(ctx)
		if err != nil {
			return stored, err
		}
		for _, d := range batch {
			next := d.next
			next.at = r.cfg.Now().Add(soon)
			err := r.put(ctx, d, &next, d.replacing())
			switch {
			case err == nil:
				stored++
			case !errors.Is(err, broker.ErrRejected):
				return stored, err
			case replaced == overdueMisses:
				return stored, nil
			default:
				replaced++
			}
		}
		if len(batch) < overdueBatch {
			return stored, nil
		}
	}
}

// overdue reads the first overdue reservations.
func (r *Reservations) overdue(ctx context.Context) (batch []*Delivery, err error) {
	names := r.cfg.Namespace
	for o, err := range FindOverdue(ctx, r.cfg.Broker, names, r.cfg.Clock.Now(), r.cfg.OverdueAfter) {
		if err != nil {
			return nil, err
		}
		typ, _, _ := names.SplitSubject(o.Message.Subject)
		d := Receive(nil, names, broker.Delivery{Message: o.Message, Stream: names.StreamPolls()}, time.Time{})
		d.Type = schema.Type(typ)
		if o.Foreign() || r.read(&d) != nil {
			continue
		}
		d.next = reservation{Reserved: o.Reserved, refusals: d.Refusals}
		if batch = append(batch, &d); len(batch) == overdueBatch {
			break
		}
	}
	return batch, nil
}
