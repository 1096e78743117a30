package fake

import (
	"context"
	"errors"
	"slices"
	"time"

	"statusworker/schema/broker"
)

// Lost is what is lost in transit.
type Lost int

// What can be lost. Operations that do not wait have no answer.
const (
	// Request means that the broker never receives the request.
	Request Lost = iota + 1
	// Answer means that the operation takes effect, but its answer is lost. Of a pull, the deliveries are lost.
	Answer
	// Removal of an ack means that the consumer counts the message as acknowledged, but the stream keeps it, as on a
	// server that is killed in between.
	Removal
)

// Fault makes an operation fail. If several match, the one injected first applies.
type Fault struct {
	// Op is the operation; empty matches any.
	Op Op
	// Object matches the subject of a publish, of any message of a batch, or of a settled message, or the stream's name
	// in all other operations. It may have wildcards; empty matches any.
	Object string
	// Times is how often the fault happens. The default is once.
	Times int

	// Delay delays the effect of the operation, and its answer. The operation takes effect even if its caller has given
	// up.
	Delay time.Duration
	// Lost loses the request or its answer: the caller gets [broker.ErrNoAnswer] when its context ends.
	Lost Lost
	// Commit is the time from when the broker accepts a publish until it stores the message, as on a replicated stream.
	Commit time.Duration
	// Stale makes a read answer from what was stored this long ago, at most [MaxStale].
	Stale time.Duration
	// Err makes it fail at once without effect. It is an error of [broker], for example [broker.ErrRejected].
	Err error
}

// Inject adds faults for later operations.
func (b *Broker) Inject(faults ...Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range faults {
		f.Times = max(f.Times, 1)
		b.faults = append(b.faults, &f)
	}
}

// Uninject removes all faults, and returns how many have not happened.
func (b *Broker) Uninject() (left int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		left += f.Times
	}
	b.faults = nil
	return left
}

// fault returns the fault of an operation, and counts it as happened. The caller holds the lock.
func (b *Broker) fault(op Op, objects ...string) Fault {
	for i, f := range b.faults {
		concerned := func(object string) bool { return f.Object == "" || matches(f.Object, object) }
		if f.Op != "" && f.Op != op || !slices.ContainsFunc(objects, concerned) {
			continue
		}
		found := *f
		if f.Times--; f.Times == 0 {
			b.faults = slices.Delete(b.faults, i, i+1)
		}
		return found
	}
	return Fault{}
}

// request makes an operation with an answer. It calls do with the lock held, unless a fault prevents it.
func (b *Broker) request(ctx context.Context, op Op, do func() error, objects ...string) error {
	return b.requestLater(ctx, op, func(answer func(error)) { answer(do()) }, objects...)
}

// requestLater makes an operation that calls answer with the lock held, when it has its result.
func (b *Broker) requestLater(ctx context.Context, op Op, do func(answer func(error)), objects ...string) error {
	failed := func(kind, cause error) error {
		return &broker.Error{Op: string(op), Object: objects[0], Kind: kind, Cause: cause}
	}
	if ctx.Err() != nil {
		return failed(broker.ErrNoAnswer, ctx.Err())
	}
	b.mu.Lock()
	b.advance()
	f := b.fault(op, objects...)
	if b.closed || f.Err != nil {
		closed := b.closed
		b.mu.Unlock()
		if closed {
			return failed(broker.ErrClosed, nil)
		}
		return failed(f.Err, nil)
	}
	var result error
	answered := false
	if f.Lost != Request {
		b.reach(f.Delay, func() {
			b.stale, b.commit, b.keeps = f.Stale, f.Commit, f.Lost == Removal
			do(func(err error) {
				result, answered = err, f.Lost != Answer && !errors.Is(err, errSilent)
				b.wake()
			})
			b.stale, b.commit, b.keeps = 0, 0, false
		})
	}
	b.mu.Unlock()
	if !b.await(ctx, b.o.AnswerWithin, func() bool { return answered }) {
		return failed(broker.ErrNoAnswer, ctx.Err())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !answered:
		return failed(broker.ErrClosed, nil)
	case result == nil:
		return nil
	case known(result):
		return failed(result, nil)
	}
	return failed(nil, result)
}

// known reports whether an error is one of package broker.
func known(err error) bool {
	return slices.Contains([]error{
		broker.ErrRejected, broker.ErrDuplicate, broker.ErrUnsupported, broker.ErrMaxPerSubject, broker.ErrFull,
		broker.ErrTooLarge, broker.ErrNotFound,
		broker.ErrStreamNotFound, broker.ErrConsumerNotFound, broker.ErrNoAnswer, broker.ErrDenied, broker.ErrClosed,
	}, err)
}

// send makes an operation without an answer.
func (b *Broker) send(op Op, object string, do func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	f := b.fault(op, object)
	switch {
	case b.closed:
		return &broker.Error{Op: string(op), Object: object, Kind: broker.ErrClosed}
	case f.Err != nil:
		return &broker.Error{Op: string(op), Object: object, Kind: f.Err}
	case f.Lost != Request:
		b.reach(f.Delay, func() {
			b.keeps = f.Lost == Removal
			do()
			b.keeps = false
		})
	}
	return nil
}

// reach calls do when the broker receives the request: after a delay, and not while it is stopped. The caller holds the
// lock.
func (b *Broker) reach(delay time.Duration, do func()) {
	switch {
	case delay > 0:
		b.at(b.now().Add(delay), do)
	case b.stopped:
		b.buffered = append(b.buffered, do)
	default:
		do()
	}
}

// SetFull makes the storage full, or not. While it is full, nothing is stored, and a schedule that fires is stuck until
// it is stored again or the stream has a new leader.
func (b *Broker) SetFull(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	b.full = full
}

// SetClock sets how far the broker's clock is ahead of this process's.
func (b *Broker) SetClock(ahead time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setClock(ahead)
}

func (b *Broker) setClock(ahead time.Duration) {
	b.advance()
	b.offset = ahead
	b.floor = b.now()
	b.wake()
}

// Stop stops the broker. Later requests wait until it starts again, as in the buffer of a client that reconnects.
// Pending pulls end without an answer.
func (b *Broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	b.stopped = true
	b.endPulls()
}

// Start starts a stopped broker, with the state of its consumers that [Broker.Restart] describes.
func (b *Broker) Start() { b.begin((*consumer).restored) }

// Restart stops the broker and starts it again. Of a pending delivery it keeps only the time of its last nak with a
// delay or in-progress, in whole seconds, or else the time when the message was stored. It may therefore redeliver it
// early.
func (b *Broker) Restart() {
	b.Stop()
	b.Start()
}

// Crash kills the broker and starts it again. It loses the state of its consumers, and delivers all stored messages as
// if for the first time. It ignores settlements of older deliveries until it has delivered the message again.
func (b *Broker) Crash() {
	b.Stop()
	b.begin((*consumer).forget)
}

// StepDown gives streams and consumers a new leader. It redelivers pending deliveries as after [Broker.Restart], but
// with exact times.
func (b *Broker) StepDown() {
	b.mu.Lock()
	b.advance()
	b.endPulls()
	b.mu.Unlock()
	b.begin((*consumer).moved)
}

// StepDownTo is [Broker.StepDown] with a leader of that name, whose clock is ahead of this process's.
func (b *Broker) StepDownTo(leader string, ahead time.Duration) {
	b.mu.Lock()
	b.setClock(ahead)
	b.leader = leader
	b.mu.Unlock()
	b.StepDown()
}

// begin starts new leaders of all streams and consumers.
func (b *Broker) begin(state func(*consumer)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = false
	b.floor = later(b.now(), b.floor) // events that fell due in the meantime happen now
	b.stamp = b.floor
	for _, s := range b.streams {
		s.begin()
		for _, c := range s.consumers {
			state(c)
		}
	}
	b.advance()
	for _, do := range b.buffered {
		do()
	}
	b.buffered = nil
	b.wake()
}

func (b *Broker) endPulls() {
	for _, s := range b.streams {
		for _, c := range s.consumers {
			for _, r := range c.waiting {
				r.ended = broker.ErrNoAnswer
			}
			c.waiting = nil
		}
	}
	b.wake()
}

// Redeliver redelivers a pending message to the next pull, as a leader change can do at any time. It reports whether
// the message was pending.
func (b *Broker) Redeliver(stream, consumer string, sequence uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	c := b.stream(stream).consumer(consumer)
	if c == nil || c.out[sequence] == nil {
		return false
	}
	c.again(sequence)
	c.serve()
	return true
}
