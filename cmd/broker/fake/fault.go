package fake

import (
	"context"
	"slices"
	"time"

	"statusworker/schema/broker"
)

// Op is an operation of [broker.Broker].
type Op string

// The operations.
const (
	Publish      Op = "publish"
	Last         Op = "last"
	Get          Op = "get"
	Next         Op = "next"
	Scan         Op = "scan"
	Subjects     Op = "subjects"
	Delete       Op = "delete"
	Stream       Op = "stream"
	Consumer     Op = "consumer"
	Pull         Op = "pull"
	Ack          Op = "ack"
	AckConfirmed Op = "ack confirmed"
	Nak          Op = "nak"
	InProgress   Op = "in-progress"
)

// Lost is what gets lost on the way.
type Lost int

// What can get lost. Operations that nobody waits for have no answer.
const (
	// Request: the broker never hears of it.
	Request Lost = iota + 1
	// Answer: it takes effect, and nobody is told. Of a pull, the deliveries are lost.
	Answer
)

// Fault is what goes wrong with an operation. Where several fit, the first that was injected counts.
type Fault struct {
	// Op is the operation; empty is any.
	Op Op
	// Object matches the subject of a publish, the subject of the message that is settled, and the name of the stream
	// in all other operations. It may have wildcards; empty is any.
	Object string
	// Times is how often it goes wrong; 0 is once.
	Times int

	// Delay makes it take effect later: a slow broker where somebody waits for it, a late settlement where nobody does.
	// A request whose caller has given up takes effect all the same.
	Delay time.Duration
	// Lost loses the request or its answer: the caller gets [broker.ErrNoAnswer] when its context ends.
	Lost Lost
	// Err makes it fail at once, without an effect: an error of [broker], for example [broker.ErrRefused].
	Err error
}

// Inject makes operations go wrong from now on.
func (b *Broker) Inject(faults ...Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range faults {
		f.Times = max(f.Times, 1)
		b.faults = append(b.faults, &f)
	}
}

// Uninject ends all faults, and tells how many had yet to happen: a test that injects one should end with none.
func (b *Broker) Uninject() (left int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		left += f.Times
	}
	b.faults = nil
	return left
}

// fault is what goes wrong with an operation now. The lock is held.
func (b *Broker) fault(op Op, object string) Fault {
	for i, f := range b.faults {
		if f.Op != "" && f.Op != op || f.Object != "" && !matches(f.Object, object) {
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

// request makes an operation with an answer: what do does, with the lock held, unless something goes wrong.
func (b *Broker) request(ctx context.Context, op Op, object string, do func() error) error {
	failed := func(kind, cause error) error {
		return &broker.Error{Op: string(op), Object: object, Kind: kind, Cause: cause}
	}
	if ctx.Err() != nil {
		return failed(broker.ErrNoAnswer, ctx.Err())
	}
	b.mu.Lock()
	b.advance()
	f := b.fault(op, object)
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
			result = do()
			answered = f.Lost != Answer && result != errSilent
			b.wake()
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

// known tells whether an error is one of package broker.
func known(err error) bool {
	return slices.Contains([]error{
		broker.ErrRefused, broker.ErrMaxPerSubject, broker.ErrFull, broker.ErrTooLarge, broker.ErrNotFound,
		broker.ErrStreamNotFound,
		broker.ErrConsumerNotFound, broker.ErrNoAnswer, broker.ErrDenied, broker.ErrClosed,
	}, err)
}

// tell makes an operation that nobody waits for.
func (b *Broker) tell(op Op, object string, do func()) error {
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
		b.reach(f.Delay, do)
	}
	return nil
}

// reach makes something happen when the broker hears of it: after a delay, and not while it is stopped. The lock is
// held.
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

// SetFull makes the storage full, or no longer so: while it is, nothing is stored, and a schedule that fires is stuck
// until it is stored again, or the stream has another leader.
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
	b.advance()
	b.offset = ahead
	b.floor = b.now()
	b.wake()
}

// Stop stops the broker: what is asked from now on waits until it is started again, as it does in the buffer of a
// client that reconnects. Pulls end without an answer.
func (b *Broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	b.stopped = true
	b.endPulls()
}

// Start starts a stopped broker, which remembers its consumers as [Broker.Restart] says.
func (b *Broker) Start() { b.begin((*consumer).restored) }

// Restart stops the broker and starts it again. Of a delivery that is out, it remembers the time of its last settlement
// (a nak with a delay, or in-progress) in whole seconds, or else when the message was stored: so it may come back
// early.
func (b *Broker) Restart() {
	b.Stop()
	b.Start()
}

// Crash kills the broker and starts it again: it forgets its consumers' state, and delivers all that is stored as if it
// never had. Settlements of older deliveries are ignored until the message is out again.
func (b *Broker) Crash() {
	b.Stop()
	b.begin((*consumer).forget)
}

// StepDown gives streams and consumers another leader: what is out comes back as after a restart, but for the whole
// seconds.
func (b *Broker) StepDown() {
	b.mu.Lock()
	b.advance()
	b.endPulls()
	b.mu.Unlock()
	b.begin((*consumer).moved)
}

// begin makes all leaders anew.
func (b *Broker) begin(state func(*consumer)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = false
	b.floor = later(b.now(), b.floor) // what fell due meanwhile happens now
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

// Redeliver delivers a message that is out once more, to whoever asks first: what a leader change or a lost settlement
// does at any moment. It tells whether it was out.
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
