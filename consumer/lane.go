package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"statusworker/consumer/clock"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// lane is one consumer whose deliveries are worked on: those of one interaction type, or the intake.
type lane struct {
	index  int
	stream string
	name   string
	puller broker.Puller
	// typ is the interaction type; empty for the intake, whose deliveries do not poll.
	typ      schema.Type
	interval time.Duration
	ackWait  time.Duration // the consumer's
	handle   func(ctx context.Context, d *delivery) error

	polling   atomic.Int64 // requests that are out
	takenIn   atomic.Uint64
	waiting   atomic.Bool // for a slot
	heartbeat heartbeat
	trouble   atomic.Pointer[string] // why the last pull failed; nil when it did not
}

// heartbeat is a loop's sign of life.
type heartbeat struct {
	last atomic.Int64 // unix, in nanoseconds
	// parked says that the loop waits for something that may take any time: the vendor, or the rate limit.
	parked atomic.Bool
}

func (b *heartbeat) sign(now time.Time) { b.last.Store(now.UnixNano()) }

func (w *Worker) addLane(
	ctx context.Context,
	stream, name string,
	t schema.Type,
	handle func(context.Context, *delivery) error,
) error {
	state, err := w.broker.Consumer(ctx, stream, name)
	if err != nil {
		return err
	}
	w.lanes = append(w.lanes, &lane{
		index: len(w.lanes), stream: stream, name: name, puller: w.broker.Puller(stream, name), typ: t,
		interval: w.cfg.Intervals.Of(t), ackWait: state.AckWait, handle: handle,
	})
	return nil
}

const (
	// maxPull bounds one pull, so that a lane with much to do takes its slots in turns.
	maxPull = 32
	// pullWait is how long an idle lane waits for its next message. It is short, because a worker that is told to stop
	// waits for it: a pull that is given up could lose a message to AckWait.
	pullWait = time.Second
	// probeWait is how long a lane may keep the probe when it has nothing due.
	probeWait = 200 * time.Millisecond
	// probeYield is how long such a lane then leaves the probe to the others: one of them may have many to pass over.
	probeYield = 500 * time.Millisecond
	// gather is how long a lane waits for more slots to come free, when it has only a few: a pull costs as much as a
	// poll, so pulls of one would double the cost of a busy worker.
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

// pull takes deliveries from a lane's consumer, no more than there are free slots, and has them worked on until ctx
// ends. An error means that the lane cannot go on.
func (w *Worker) pull(ctx, work context.Context, l *lane) error {
	defer l.puller.Close()
	busy := false // the last pull found as much as it asked for
	for ctx.Err() == nil {
		l.heartbeat.sign(w.cfg.Now())
		probe := false
		room := maxPull
		if l.typ != "" {
			l.heartbeat.parked.Store(true)
			if room = w.limiter.Room(ctx, maxPull); room == 0 {
				return nil
			}
			var err error
			probe, err = w.breaker.Admit(ctx, l.index)
			l.heartbeat.sign(w.cfg.Now())
			l.heartbeat.parked.Store(false)
			if err != nil {
				if probe {
					w.breaker.Release()
				}
				return nil
			}
		}
		most := 1
		if busy && !probe {
			most = min(maxPull, room)
		}
		n := w.slots.takeNow(l.index, most)
		if n == 0 {
			l.waiting.Store(true)
			n = w.slots.take(ctx, l.index, most, func() { l.heartbeat.sign(w.cfg.Now()) })
			l.waiting.Store(false)
		}
		if n == 0 {
			if probe {
				w.breaker.Release()
			}
			return nil
		}
		if n < min(most, gatherSlots) {
			timer := time.NewTimer(gather)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
			n += w.slots.takeNow(l.index, most-n)
		}
		found, err := w.pullOnce(ctx, work, l, n, busy, probe)
		if err := w.judgePull(ctx, l, err); err != nil {
			return err
		}
		// A busy lane asks for all it can take and is answered at once; when that was nothing it waits for one.
		busy = found > 0 && (busy || found == n)
		if probe && found == 0 {
			// Nothing is due here: let the other lanes have the probe before it is asked for again.
			select {
			case <-time.After(probeYield):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// pullOnce asks for n messages and has each worked on. It gives back the slots of those that did not come.
func (w *Worker) pullOnce(ctx, work context.Context, l *lane, n int, noWait, probe bool) (found int, err error) {
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
	err = l.puller.Pull(n, wait, func(msg broker.Delivery) {
		found++
		w.deliveries.Add(1)
		w.jobs <- job{ctx: ctx, lane: l, msg: msg, asked: asked, probe: probe}
	})
	return found, err
}

// judgePull says whether a lane can go on after a pull that ended with err. It waits a little where the broker is in
// trouble, and finds out whether the consumer is gone.
func (w *Worker) judgePull(ctx context.Context, l *lane, err error) error {
	if err == nil || ctx.Err() != nil {
		l.trouble.Store(nil)
		return nil
	}
	why := err.Error()
	l.trouble.Store(&why)
	if errors.Is(err, broker.ErrClosed) {
		return err
	}
	// A deleted consumer has nobody to answer, but so does a cluster that is electing: only a leader's "not found",
	// three times, is believed.
	for notFound := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
		l.heartbeat.sign(w.cfg.Now())
		ask, cancel := context.WithTimeout(ctx, 3*time.Second)
		_, infoErr := w.broker.Consumer(ask, l.stream, l.name)
		cancel()
		switch {
		case errors.Is(infoErr, broker.ErrClosed):
			return infoErr
		case errors.Is(infoErr, broker.ErrConsumerNotFound), errors.Is(infoErr, broker.ErrStreamNotFound):
			if notFound++; notFound == 3 {
				return &DeletedError{Stream: l.stream, Consumer: l.name, Err: infoErr}
			}
		case infoErr == nil:
			w.complain("pull", err)
			return nil
		default:
			notFound = 0
			w.complain("pull", err)
		}
	}
}

// job is a message with a slot, on its way to one of the worker's goroutines.
type job struct {
	ctx   context.Context // ends when the worker is told to stop
	lane  *lane
	msg   broker.Delivery
	asked time.Time // when it was asked for: the broker has not delivered it before
	probe bool
}

// work handles one message and frees its slot. Nothing that happens in it reaches other deliveries.
func (w *Worker) work(work context.Context, j job) {
	ctx, l, msg := j.ctx, j.lane, j.msg
	defer w.deliveries.Done()
	defer w.slots.give(l.index, 1)
	if j.probe {
		defer w.breaker.Release()
	}
	d := &delivery{Delivery: redelivery.Receive(w.broker, msg, j.asked), lane: l, probe: j.probe}
	d.Type, d.Interval = l.typ, l.interval
	if ctx.Err() != nil { // it arrived after the worker was told to stop
		w.giveBack(d, d.HandBack)
		return
	}
	if l.typ != "" && !lifecycle.IsTombstone(msg.Header) {
		if wait := w.limiter.Take(ctx); wait > 0 {
			w.count.skipped.Add(1)
			w.giveBack(d, func() error { return d.NakAfter(wait) })
			return
		}
	}
	defer func() {
		if r := recover(); r != nil {
			w.count.panics.Add(1)
			w.count.faults.Add(1)
			w.log.WithField("subject", schema.Quote(msg.Subject)).WithField("panic", fmt.Sprint(r)).
				WithField("stack", string(debug.Stack())).Error("delivery panicked")
			if err := w.panicked(work, l, d, panicAt(r)); err != nil {
				w.complain("panic", err)
			}
		}
	}()
	var err error
	if l.handle != nil {
		err = l.handle(work, d)
	} else {
		err = w.deliver(work, d)
	}
	if err != nil {
		w.count.faults.Add(1)
		if work.Err() == nil {
			w.complain("delivery on "+l.name, err)
		}
	}
}

// giveBack lets go of a delivery that was not worked on, by a nak. Where AckWait is over, the nak would count for the
// delivery that another worker has got meanwhile, and has perhaps polled by: then nothing is sent.
func (w *Worker) giveBack(d *delivery, nak func() error) {
	if clock.Passed(d.Asked, w.cfg.Now()) >= d.lane.ackWait {
		return
	}
	if err := nak(); err != nil {
		w.complain("hand back", err)
	}
}
