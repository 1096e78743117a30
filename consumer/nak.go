package consumer

import (
	"context"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
)

// naks hold interactions back by delayed negative acks: for brokers without message schedules. The declared message
// itself is delivered again and again. It is polite while the broker lives; a broker that is killed forgets delays.
type naks struct {
	worker *Worker
	clock  *clock.Clock
	cfg    Config
	due    dueSample
	// refused remembers refusals: the broker keeps nothing for a message but the message.
	refused refusedSample
	// waiting is how many interactions waited when the broker was last asked; fresh is how many of them had never been
	// delivered then, nor when it was asked before.
	waiting, fresh atomic.Uint64
}

const (
	// A delay loses its fraction of a second when the broker restarts: one second more makes up for it.
	nakSlack = time.Second
	// The AckWait of a lane is its guidance, the request time-out, and this.
	nakAckWaitMargin = 5 * time.Second
)

func (n *naks) ackWait(interval time.Duration) time.Duration {
	return interval + n.cfg.RequestTimeout + nakAckWaitMargin
}

// begin makes the broker count from now, and not from when the message was stored, should it restart.
func (n *naks) begin(ctx context.Context, d *delivery) (bool, error) {
	originOf(d)
	if err := d.inProgress(); err != nil {
		return false, err
	}
	declared, err := n.declaration(d)
	if err != nil {
		return false, err
	}
	d.identifier = declared.Identifier
	young := n.clock.Now().Sub(d.at.Generation) < d.lane.interval
	if young || d.origin.Deliveries <= 1 {
		over, err := n.worker.beginsNothing(ctx, d)
		if err != nil {
			return false, err
		}
		if over {
			return false, d.ack()
		}
	}
	d.due = n.due.take(d.origin.Sequence)
	d.refusals = n.refused.of(d.identifier, n.cfg.Now())
	// The poll must be over, and its outcome stored, before AckWait brings the message back, maybe to another worker. That
	// counts from when the message was asked for, and not from now: this process may have stood still in between.
	d.until = d.asked.Add(n.ackWait(d.lane.interval) - nakSlack)
	d.sendBy = d.asked.Add(nakAckWaitMargin - nakSlack + min(d.lane.interval, n.cfg.RequestTimeout))
	// Polls are not counted here: it would take a state, or trust in the number of deliveries.
	if young {
		d.sendBy = d.asked // too young for its first poll
	}
	return true, nil
}

func (n *naks) declaration(d *delivery) (schema.Declared, error) {
	return schema.DecodeFrom(d.msg.Subject, d.msg.Data)
}

// keep has nothing to do: AckWait is longer than a request.
func (n *naks) keep(ctx context.Context, _ *delivery) (context.Context, func()) { return ctx, func() {} }

func (n *naks) redeliver(_ context.Context, d *delivery, notBefore time.Time) error {
	if d.settled {
		return nil
	}
	jitter := time.Duration(n.cfg.Jitter() * jitterShare * float64(d.lane.interval))
	age := n.clock.Now().Sub(d.at.Generation)
	wait := max(Wait(d.lane.interval, age, n.cfg.Stretch, n.cfg.StretchLimit), min(n.turn(), n.cfg.Deadline-age))
	delay := max(wait+nakSlack, notBefore.Sub(n.cfg.Now())) + jitter
	now := n.clock.Now()
	n.due.note(d.origin.Sequence, now.Add(delay), now)
	n.refused.note(d.identifier, refusedEntry{refusals: d.refusals, noted: n.cfg.Now()})
	return d.nakAfter(delay)
}

// turn is how long the fleet takes to poll all that waits once, and a little more. Where there is a rate limit, and messages
// wait for their first delivery because of it, an interaction is held back for as long at least: the broker delivers again
// before it delivers anew, so that interactions that do not end would keep all others from their first poll.
func (n *naks) turn() time.Duration {
	if n.cfg.MaxPollsPerSecond == 0 || n.fresh.Load() == 0 {
		return 0
	}
	return min(seconds(turnMargin*float64(n.waiting.Load())/n.cfg.MaxPollsPerSecond), maxTurn)
}

const (
	turnMargin = 1.1
	// maxTurn bounds what an interaction waits for a rate limit that may be raised meanwhile.
	maxTurn = time.Hour
	// weighEvery is how often the broker is asked how much waits, where there is a rate limit.
	weighEvery = 5 * time.Second
	// weighTimeout is how long the broker may take to answer that for one lane.
	weighTimeout = 2 * time.Second
)

// weigh keeps up how much waits in the lanes, until ctx ends.
func (n *naks) weigh(ctx context.Context, lanes []*lane, complain func(error)) error {
	ticker := time.NewTicker(weighEvery)
	defer ticker.Stop()
	for before := uint64(0); ; {
		var waiting, fresh uint64
		known := true
		for _, l := range lanes {
			bounded, cancel := context.WithTimeout(ctx, weighTimeout)
			state, err := n.worker.broker.Consumer(bounded, l.stream, l.name)
			cancel()
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				complain(err)
				known = false
				continue
			}
			waiting += state.Pending + state.AckPending
			fresh += state.Pending
		}
		if known {
			n.waiting.Store(waiting)
			n.fresh.Store(min(before, fresh)) // not those that had just come
			before = fresh
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// finish acks and waits for the broker's word. Without it the interaction is polled once more, and its outcome is found
// to be stored.
func (n *naks) finish(ctx context.Context, d *delivery) error {
	n.refused.note(d.identifier, refusedEntry{})
	bounded, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	return d.ackConfirmed(bounded)
}

// dueSample remembers of some messages when they fall due again. With naks nothing else tells how late a delivery is: the
// broker does not say, and a worker keeps no state of what waits. It is a sample, because another worker may get the
// message, and because its size is bounded: of every so many sequences one is in it, more or fewer as they become many.
type dueSample struct {
	mu    sync.Mutex
	at    map[uint64]time.Time // by stream sequence
	every uint64
	// cleared is when what others took was last thrown out.
	cleared time.Time
}

const (
	maxDueSample = 512
	// dueSampleAge is how long after it fell due a message is taken to be another worker's.
	dueSampleAge = 5 * time.Minute
)

func (s *dueSample) note(sequence uint64, due, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at, s.every = make(map[uint64]time.Time, maxDueSample), 1
	}
	if now.Sub(s.cleared) > time.Minute {
		s.cleared = now
		s.keep(func(_ uint64, at time.Time) bool { return now.Sub(at) <= dueSampleAge })
		if len(s.at) < maxDueSample/8 && s.every > 1 {
			s.every /= 2
		}
	}
	if sequence%s.every != 0 {
		return
	}
	s.at[sequence] = due
	for len(s.at) > maxDueSample {
		s.every *= 2
		s.keep(func(n uint64, _ time.Time) bool { return n%s.every == 0 })
	}
}

// keep throws out what is not to be kept.
func (s *dueSample) keep(wanted func(sequence uint64, at time.Time) bool) {
	for n, at := range s.at {
		if !wanted(n, at) {
			delete(s.at, n)
		}
	}
}

// take gives when a message fell due, or zero where it is not in the sample.
func (s *dueSample) take(sequence uint64) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := s.at[sequence]
	delete(s.at, sequence)
	return due
}

// refusedSample remembers which interactions were refused at this worker's last polls of them. Each worker counts for itself,
// and what does not fit is counted when there is room: a status that another worker got in between is not seen.
type refusedSample struct {
	life time.Duration // of an entry that is not noted again: others poll the interaction

	mu    sync.Mutex
	known map[string]refusedEntry
}

type refusedEntry struct {
	refusals schema.Refusals
	noted    time.Time
}

// maxRefused bounds how many interactions are remembered.
const maxRefused = 4096

// refusedLife is for how long refusals are remembered: long enough for another poll by the same worker of ten, and for a rest
// in between.
func refusedLife(cfg Config) time.Duration {
	return 2*cfg.NotFoundGrace + 10*(cfg.Intervals.Longest()+nakSlack) + maxDelay
}

// of gives the refusals of an interaction.
func (s *refusedSample) of(identifier string, now time.Time) schema.Refusals {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[identifier]
	if !ok || now.Sub(e.noted) > s.life {
		return schema.Refusals{}
	}
	return e.refusals
}

// note remembers the refusals of an interaction, or forgets it where there are none.
func (s *refusedSample) note(identifier string, e refusedEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.refusals.Count == 0 {
		delete(s.known, identifier)
		return
	}
	if s.known == nil {
		s.known = map[string]refusedEntry{}
	}
	if _, ok := s.known[identifier]; !ok && len(s.known) >= maxRefused {
		maps.DeleteFunc(s.known, func(_ string, old refusedEntry) bool { return e.noted.Sub(old.noted) > s.life })
		if len(s.known) >= maxRefused {
			return
		}
	}
	s.known[identifier] = e
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt64/4/float64(time.Second)) * float64(time.Second))
}
