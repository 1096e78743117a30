package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// lane handles the deliveries of one consumer: those of one interaction type, or those of the intake.
type lane struct {
	index   int
	stream  string
	name    string
	puller  broker.Puller
	settler redelivery.Settler
	// typ is the interaction type. It is empty for the intake, whose deliveries are not polled.
	typ schema.Type
	// filter selects the messages of the consumer.
	filter   string
	interval time.Duration
	ackWait  time.Duration // of the consumer
	handle   func(ctx context.Context, d *delivery) error

	polling   atomic.Int64 // requests in flight
	takenIn   atomic.Uint64
	waiting   atomic.Bool // for a slot
	heartbeat heartbeat
	failure   atomic.Pointer[string] // of the last pull; nil if it succeeded
	// undelivered are messages that the broker stores and does not deliver.
	undelivered chan broker.Delivery
}

// heartbeat is when a loop last ran.
type heartbeat struct {
	last atomic.Int64 // Unix time in nanoseconds
	// parked is true while the loop waits for the vendor or the rate limit, which can take any time.
	parked atomic.Bool
}

func (b *heartbeat) record(now time.Time) { b.last.Store(now.UnixNano()) }

func (w *Worker) addLane(
	ctx context.Context, stream, name string, t schema.Type, handle func(context.Context, *delivery) error,
) error {
	state, err := w.broker.Consumer(ctx, stream, name)
	if err != nil {
		return err
	}
	l := &lane{
		index: len(w.lanes), stream: stream, name: name, puller: w.broker.Puller(stream, name), settler: w.broker,
		typ: t, filter: ">", interval: w.cfg.Intervals.Of(t), ackWait: state.AckWait, handle: handle,
		undelivered: make(chan broker.Delivery),
	}
	if t != "" {
		if l.filter, err = w.cfg.Namespace.SubjectPattern(stream, t); err != nil {
			return err
		}
	}
	if stream == w.cfg.Namespace.StreamPolls() {
		l.settler = &lateAcks{Settler: w.broker}
	}
	w.lanes = append(w.lanes, l)
	return nil
}

const (
	// maxPull limits one pull, so that busy lanes take slots in turn.
	maxPull = 32
	// pullWait is how long an idle lane waits for a message. It is short, because a shutdown waits for it: a message
	// could arrive after a cancelled pull, and would be redelivered only after AckWait.
	pullWait = time.Second
	// probeWait is how long a lane keeps the probe if no message is due.
	probeWait = 200 * time.Millisecond
	// probeYield is how long such a lane then leaves the probe to others, which may have many messages to pass over.
	probeYield = 500 * time.Millisecond
	// gather is how long a lane waits for more free slots if it has fewer than gatherSlots. A pull costs as much as a
	// poll, so pulls of one message would double the cost of a busy worker.
	gather      = 2 * time.Millisecond
	gatherSlots = 8
)

// DeletedError reports that the worker cannot continue, because one of its consumers was deleted.
type DeletedError struct {
	Stream, Consumer string
	// Err is the error of the broker.
	Err error
}

func (e *DeletedError) Error() string {
	return fmt.Sprintf("consumer %s/%s was deleted while the worker used it: %v", e.Stream, e.Consumer, e.Err)
}

// Unwrap returns the error of the broker.
func (e *DeletedError) Unwrap() error { return e.Err }

// pull pulls deliveries from a lane's consumer until ctx ends, never more than there are free slots, and passes them to
// the worker's goroutines. An error means that the lane cannot continue.
func (w *Worker) pull(ctx context.Context, l *lane) error {
	defer l.puller.Close()
	busy := false // a pull found as many messages as it requested, and each one since then has found some
	for ctx.Err() == nil {
		l.heartbeat.record(w.cfg.Now())
		room, probe := w.admit(ctx, l)
		if room == 0 {
			return nil
		}
		maxSlots := 1
		if busy && !probe {
			maxSlots = min(maxPull, room)
		}
		n := w.takeSlots(ctx, l, maxSlots)
		if n == 0 {
			if probe {
				w.breaker.Release()
			}
			return nil
		}
		found, err := w.pullOnce(ctx, l, n, busy, probe)
		if err := w.checkPull(ctx, l, err); err != nil {
			return err
		}
		// A busy lane requests as many messages as it can take, and the broker answers at once. After a pull without
		// messages, the lane requests one message and waits for it.
		busy = found > 0 && (busy || found == n)
		if probe && found == 0 {
			select {
			case <-time.After(probeYield):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// admit waits until a lane may pull, and returns how many messages it may pull; 0 when ctx has ended. A lane that polls
// waits for the rate limit and the breaker, the intake for room in the stream of reservations. If probe is true, the
// caller must release the probe.
func (w *Worker) admit(ctx context.Context, l *lane) (room int, probe bool) {
	if l.typ == "" {
		return w.admitIntake(ctx, l), false
	}
	l.heartbeat.parked.Store(true)
	defer l.heartbeat.parked.Store(false)
	if room = w.limiter.Room(ctx, maxPull); room == 0 {
		return 0, false
	}
	probe, err := w.breaker.Admit(ctx, l.index)
	l.heartbeat.record(w.cfg.Now())
	if err != nil {
		if probe {
			w.breaker.Release()
		}
		return 0, false
	}
	return room, probe
}

// takeSlots waits for slots, and takes up to maxSlots. It returns 0 when ctx has ended.
func (w *Worker) takeSlots(ctx context.Context, l *lane, maxSlots int) int {
	n := w.slots.takeNow(l.index, maxSlots)
	if n == 0 {
		l.waiting.Store(true)
		n = w.slots.take(ctx, l.index, maxSlots, func() { l.heartbeat.record(w.cfg.Now()) })
		l.waiting.Store(false)
	}
	if n > 0 && n < min(maxSlots, gatherSlots) {
		timer := time.NewTimer(gather)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		n += w.slots.takeNow(l.index, maxSlots-n)
	}
	return n
}

// pullOnce takes a message that the broker does not deliver or, if there is none, pulls up to n. It returns the slots
// of those that did not arrive.
func (w *Worker) pullOnce(ctx context.Context, l *lane, n int, noWait, probe bool) (found int, err error) {
	defer func() {
		w.slots.give(l.index, n-found)
		if probe && found == 0 {
			w.breaker.Release()
		}
	}()
	wait := pullWait
	switch {
	case noWait:
		wait = 0
	case probe:
		wait = probeWait
	}
	asked := w.cfg.Now()
	take := func(msg broker.Delivery) {
		found++
		w.deliveries.Add(1)
		w.jobs <- job{ctx: ctx, lane: l, msg: msg, asked: asked, probe: probe}
	}
	select {
	case msg := <-l.undelivered:
		take(msg)
	default:
	}
	if found == 0 {
		err = l.puller.Pull(n, wait, take)
	}
	return found, err
}

// checkPull decides whether a lane can continue after a pull that returned err. If the pull failed, it waits until the
// broker answers again, and detects a deleted consumer.
func (w *Worker) checkPull(ctx context.Context, l *lane, err error) error {
	if err == nil || ctx.Err() != nil {
		l.failure.Store(nil)
		return nil //nolint:nilerr // the lane ends
	}
	why := err.Error()
	l.failure.Store(&why)
	if errors.Is(err, broker.ErrClosed) {
		return err
	}
	// A request to a deleted consumer gets no answer, and neither does one to a cluster that elects a leader. Only
	// three "not found" answers in a row, from a leader, mean that the consumer was deleted.
	for notFound := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
		l.heartbeat.record(w.cfg.Now())
		bounded, cancel := context.WithTimeout(ctx, 3*time.Second)
		_, infoErr := w.broker.Consumer(bounded, l.stream, l.name)
		cancel()
		switch {
		case errors.Is(infoErr, broker.ErrClosed):
			return infoErr
		case errors.Is(infoErr, broker.ErrConsumerNotFound), errors.Is(infoErr, broker.ErrStreamNotFound):
			if notFound++; notFound == 3 {
				return &DeletedError{Stream: l.stream, Consumer: l.name, Err: infoErr}
			}
		case infoErr == nil:
			w.warn("pulling messages", err)
			return nil
		default:
			notFound = 0
			w.warn("pulling messages", err)
		}
	}
}
