package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/broker"
)

const (
	// roomEvery is how often the size of a stream of reservations with a maximum size is read, and unlimitedEvery how
	// often that of one without: an operator can set a maximum size at any time.
	roomEvery      = time.Second
	unlimitedEvery = 10 * time.Second
	// roomWithin limits one reading.
	roomWithin = 5 * time.Second
	// roomWait is how long the intake waits before it looks again whether it may take in more.
	roomWait = 50 * time.Millisecond
)

// room limits the intake to what the stream of reservations has room for, see [redelivery.Room]. What the intake does
// not take in waits in the stream of declared messages, which rejects more at its own limit.
type room struct {
	mu sync.Mutex
	// again is when to read the size again; zero before the first reading.
	again time.Time
	// unlimited means that the stream has no maximum size.
	unlimited bool
	// left is how many bytes this worker may still use until then.
	left int64
	// full is since when the stream is full; zero if it is not.
	full time.Time
}

// admitIntake waits until the intake may pull, and returns for how many messages. That is 0 when ctx has ended.
func (w *Worker) admitIntake(ctx context.Context, l *lane) int {
	for ctx.Err() == nil {
		l.heartbeat.record(w.cfg.Now())
		if w.room.outdated(w.cfg.Now()) {
			w.readRoom(ctx)
		}
		// Each declared message in flight counts with the maximum cost. Its own cost is subtracted from what is left
		// when it is known, before its slot is returned.
		if n := w.room.messages() - w.slots.usedBy(l.index); n > 0 {
			return min(n, maxPull)
		}
		select {
		case <-time.After(roomWait):
		case <-ctx.Done():
		}
	}
	return 0
}

// readRoom reads the size of the stream of reservations.
func (w *Worker) readRoom(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, roomWithin)
	defer cancel()
	stream := w.cfg.Namespace.StreamPolls()
	state, err := w.broker.Stream(bounded, stream)
	now := w.cfg.Now()
	if err != nil {
		w.room.unknown(now)
		if ctx.Err() == nil {
			w.warn("reading the size of the stream of reservations", err)
		}
		return
	}
	before, since := w.room.set(now, state, w.roomShare)
	log := w.log.WithFields(logrus.Fields{
		"stream": stream, "messages": state.Messages, "bytes": state.Bytes, "max_bytes": state.MaxBytes,
	})
	switch {
	case before.IsZero() == since.IsZero():
	case before.IsZero():
		log.Warn("intake blocked; the stream of reservations has no room for more interactions")
	default:
		log.WithField("blocked_for", schema.Duration(now.Sub(before).Round(time.Second))).Info("intake resumed")
	}
}

// roomShare is the part of the room that this worker may use. It is 0 until all other workers count this one: until
// then, they share the whole room among themselves. Where the parts are too small for the largest declared message, one
// worker takes in all.
func (w *Worker) roomShare(free int64) int64 {
	if !w.fleet.Joined() {
		return 0
	}
	share := redelivery.Share(free, w.fleet.LiveWorkers())
	if share < redelivery.MaxCost && w.fleet.First() {
		share = redelivery.Share(free, 1)
	}
	return share
}

// outdated reports whether the size must be read.
func (r *room) outdated(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !now.Before(r.again)
}

// messages is how many declared messages the intake may have in flight.
func (r *room) messages() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unlimited {
		return maxInFlight
	}
	return int(r.left / redelivery.MaxCost)
}

// maxInFlight is more than there are slots.
const maxInFlight = 1 << 30

// spend records that a part of the room is used.
func (r *room) spend(cost int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = max(0, r.left-cost)
}

// blocked reports whether the stream is full.
func (r *room) blocked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.full.IsZero()
}

// unknown records that the size could not be read. Other workers may have used the room meanwhile.
func (r *room) unknown(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again, r.left = now.Add(roomEvery), 0
}

// set records the state of the stream. It returns since when the stream was full before, and since when it is; zero if
// it was not, or is not.
func (r *room) set(
	now time.Time, s broker.StreamState, share func(free int64) int64,
) (before, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, r.full, r.left = r.full, time.Time{}, 0
	if r.unlimited = s.MaxBytes == 0; r.unlimited {
		r.again = now.Add(unlimitedEvery)
		return before, r.full
	}
	r.again = now.Add(roomEvery)
	free := redelivery.Room(s.Messages, s.Bytes, s.MaxBytes)
	switch {
	case !redelivery.Full(free, s.MaxBytes, !before.IsZero()):
		r.left = share(free)
	case before.IsZero():
		r.full = now
	default:
		r.full = before
	}
	return before, r.full
}
