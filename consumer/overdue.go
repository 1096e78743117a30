package consumer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/schema"
	"statusworker/schema/lifecycle"
	"statusworker/schema/topology"
)

// A server publishes a due message within a second of the time of its reservation. If it cannot store the due message (a
// storage limit is reached), the server marks the schedule as being on its way and keeps the mark: nats-server 2.15.3 and
// before try again only after a restart or a change of the stream's leader. A reservation that another one replaces loses
// the mark, so workers look for overdue reservations and store them again.

// OverdueAfter is how long after its time a reservation counts as overdue by default.
const OverdueAfter = time.Minute

const (
	// overdueMisses is how many reservations that are not overdue a search reads before it ends.
	overdueMisses = 5
	// overdueBatch is how many are read before they are stored again.
	overdueBatch = 100
)

// Overdue is a reservation that the broker did not publish when its time came.
type Overdue struct {
	lifecycle.Reserved
	Message *jetstream.RawStreamMsg
}

// FindOverdue finds reservations that are overdue at a time of the broker's clock, in the order in which they were stored.
// It reads few others, however many there are: a reservation is stored before its time, so the search ends at the first one
// that is too young. Of those that wait for longer it reads some: they leave the front of the stream when their time comes,
// and what is behind them is found then.
func FindOverdue(ctx context.Context, js jetstream.JetStream, now time.Time, after time.Duration) iter.Seq2[Overdue, error] {
	return func(yield func(Overdue, error) bool) {
		s := overdueSearch{js: js, before: now.Add(-after)}
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
			o := Overdue{Reserved: lifecycle.ReadReserved(m.Header, m.Sequence, m.Time), Message: m}
			switch {
			case o.Due.IsZero(): // it is no schedule
			case !o.Due.Before(s.before):
				misses++
			case !yield(o, nil):
				return
			}
		}
	}
}

// overdueSearch reads reservations in the order in which they were stored. It never asks for the first one from the beginning
// of the stream on: for that, the broker goes through all subjects that there are, 0.3 s for 700,000 reservations. From beyond
// the stream's first message on it takes less than a millisecond.
type overdueSearch struct {
	js     jetstream.JetStream
	before time.Time

	polls jetstream.Stream        // nil where nothing is old enough
	first *jetstream.RawStreamMsg // the stream's first message, where it is a reservation that was not given out yet
	seq   uint64                  // where to go on
}

func (s *overdueSearch) begin(ctx context.Context) error {
	polls, err := s.js.Stream(ctx, schema.StreamPolls)
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", schema.StreamPolls, err)
	}
	state := polls.CachedInfo().State
	if state.Msgs == 0 || !state.FirstTime.Before(s.before) {
		return nil
	}
	m, err := polls.GetMsg(ctx, state.FirstSeq)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("reading the first message of %s: %w", schema.StreamPolls, err)
	}
	s.polls, s.seq = polls, state.FirstSeq+1
	if err == nil && !schema.IsPollSubject(m.Subject) {
		s.first = m
		return nil
	}
	// What is due is being worked off. The search begins so far beyond it that it is not overtaken; what it leaves out is found
	// when nothing moves in front of it any more.
	if polls, err = s.js.Stream(ctx, schema.StreamPolls); err != nil {
		return fmt.Errorf("reading stream %s: %w", schema.StreamPolls, err)
	}
	if next := polls.CachedInfo().State.FirstSeq; next > state.FirstSeq {
		s.seq += 10 * (next - state.FirstSeq)
	}
	return nil
}

// next is nil at the end.
func (s *overdueSearch) next(ctx context.Context) (*jetstream.RawStreamMsg, error) {
	if s.polls == nil {
		return nil, nil
	}
	m := s.first
	if s.first = nil; m == nil {
		var err error
		m, err = s.polls.GetMsg(ctx, s.seq, jetstream.WithGetMsgSubject(schema.SubjectsHold))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the first reservation from sequence %d on: %w", s.seq, err)
		}
	}
	s.seq = m.Sequence + 1
	return m, nil
}

// storeAgain stores overdue reservations again, to fall due in a moment, each on the condition that it is still there. Where
// several are not, it ends: another worker is at it, or they have fallen due.
func (r *reservations) storeAgain(ctx context.Context) (stored int, err error) {
	if err := r.sureOfTime(ctx); err != nil {
		return 0, err
	}
	for gone := 0; ; {
		// They are read first: the search would begin anew where the stream's first message is replaced.
		batch, err := r.overdue(ctx)
		if err != nil {
			return stored, err
		}
		for _, d := range batch {
			next := d.reserved
			next.Due = r.clock.Now().Add(slack(r.cfg.Intervals.Of(d.lane.typ)))
			err := r.put(ctx, d, &next, d.reserved.Sequence, schema.HoldSubjects(d.identifier))
			switch {
			case err == nil:
				stored++
			case !topology.Refused(err):
				return stored, err
			case gone == overdueMisses:
				return stored, nil
			default:
				gone++
			}
		}
		if len(batch) < overdueBatch {
			return stored, nil
		}
	}
}

// overdue reads the first overdue reservations of workers.
func (r *reservations) overdue(ctx context.Context) (batch []*delivery, err error) {
	for o, err := range FindOverdue(ctx, r.js, r.clock.Now(), r.cfg.OverdueAfter) {
		if err != nil {
			return nil, err
		}
		typ, _, _ := schema.SplitSubject(o.Message.Subject)
		d := &delivery{lane: &lane{typ: schema.Type(typ)}}
		d.msg = storedMsg{raw: o.Message}
		if o.Foreign() || r.read(d) != nil {
			continue
		}
		d.reserved = reservation{Reserved: o.Reserved, refusals: d.refusals}
		if batch = append(batch, d); len(batch) == overdueBatch {
			break
		}
	}
	return batch, nil
}

// storedMsg is a message that was read from its stream and not delivered: it cannot be settled.
type storedMsg struct {
	jetstream.Msg
	raw *jetstream.RawStreamMsg
}

func (m storedMsg) Subject() string      { return m.raw.Subject }
func (m storedMsg) Headers() nats.Header { return m.raw.Header }
func (m storedMsg) Data() []byte         { return m.raw.Data }

func (m storedMsg) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{
		Stream: schema.StreamPolls, Timestamp: m.raw.Time, Sequence: jetstream.SequencePair{Stream: m.raw.Sequence},
	}, nil
}

// watchOverdue stores overdue reservations again until ctx ends. Workers do so in turn, each the more seldom the more there
// are: what it costs the broker does not grow with them.
func (w *Worker) watchOverdue(ctx context.Context, r *reservations) error {
	for {
		every := w.cfg.OverdueAfter / 2 * time.Duration(max(1, w.fleet.Alive()))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every/2 + time.Duration(w.cfg.Jitter()*float64(every))):
		}
		stored, err := r.storeAgain(ctx)
		if stored > 0 {
			w.count.storedAgain.Add(uint64(stored))
			w.log.WithFields(logrus.Fields{"reservations": stored, "overdue_by": schema.Duration(w.cfg.OverdueAfter)}).
				Warn("overdue reservations stored again")
		}
		if err != nil && ctx.Err() == nil {
			w.complain("overdue reservations", err)
		}
	}
}
