// Package fake is an in-memory broker for tests of code that uses [broker.Broker]. It behaves like a NATS server with
// JetStream, as far as cmd/broker/conformance compares them. It fails as a test demands: see [Broker.Inject] for single
// operations, and [Broker.Restart], [Broker.Crash], [Broker.StepDown], [Broker.StepDownTo], [Broker.Stop],
// [Broker.SetFull], [Broker.SetClock] and [Broker.Redeliver] for the whole broker.
//
// It has no goroutine and no socket, and only operations that wait have timers. Nothing happens between two calls; each
// call first processes the events that have fallen due. The broker is therefore deterministic within
// [testing/synctest], where it uses the clock of the bubble, and it leaves no goroutine behind.
//
// It is under cmd beside the adapter, and outside internal because tests of consumer and publisher import it.
package fake

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"statusworker/schema/broker"
)

// Options configure a broker. The zero value is a single server without delays.
type Options struct {
	// FiresLate is how late schedules fire. A real broker is 0.14 s late at the median.
	FiresLate time.Duration
	// FiringTakes is the time from the firing of a schedule until its message is stored. A message that replaces the
	// schedule in between is acknowledged, and then purged with it.
	FiringTakes time.Duration
	// FiredSeen is how long a fired schedule remains visible beside its message: reads return it, and it makes
	// conditional publishes fail. This happens on replicated streams.
	FiredSeen time.Duration
	// AckedSeen is how long an acked message of a work queue remains visible: reads return it, and it counts for
	// conditions and limits, but it is not delivered. This happens on replicated streams.
	AckedSeen time.Duration
	// Replicated makes publishes behave as on a replicated stream: it checks for duplicates before the condition.
	Replicated bool
	// AnswerWithin is how long an operation waits if its context has no deadline. The default is 5 s, as with nats.go.
	AnswerWithin time.Duration
	// OnChange is called for each message that a stream stores or removes, in this order. It must not call the broker,
	// and must not change the message. It is optional.
	OnChange func(Change)
}

// Change is a message that a stream stored or removed.
type Change struct {
	Stream  string
	Message broker.Message
	Removed bool
}

// Broker is an in-memory broker. Its methods are safe for concurrent use.
type Broker struct {
	o Options

	mu      sync.Mutex
	streams []*stream
	offset  time.Duration // how far the broker's clock is ahead
	leader  string        // of all streams and consumers
	// stamp is the broker's time of the current event. It is never before floor, the time of the last clock step or
	// start, at which all events happen that fell due during it.
	stamp, floor time.Time
	events       events
	ordinal      uint64
	full         bool
	closed       bool
	stopped      bool
	// buffered are the requests that clients made while the broker was stopped.
	buffered []func()
	faults   []*Fault
	// stale is how old the state is that the current read answers from, and commit how long the current publish takes
	// from its acceptance until it is stored.
	stale, commit time.Duration
	// keeps makes the current ack keep its message.
	keeps bool
	// changed is closed and replaced when something has changed that an operation may wait for.
	changed chan struct{}
}

var _ broker.Broker = (*Broker)(nil)

// New returns a broker with these streams and consumers.
func New(o Options, streams ...broker.StreamConfig) *Broker {
	if o.AnswerWithin == 0 {
		o.AnswerWithin = 5 * time.Second
	}
	b := &Broker{o: o, changed: make(chan struct{})}
	for _, c := range streams {
		b.streams = append(b.streams, newStream(b, c))
	}
	return b
}

// Close closes the connection permanently: pending and later operations fail with [broker.ErrClosed].
func (b *Broker) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.wake()
}

// Now returns the broker's time.
func (b *Broker) Now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now()
}

// Stored returns all messages of a stream in the order of their sequences. It is not an operation of a client: faults
// do not affect it.
func (b *Broker) Stored(stream string) []broker.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	var all []broker.Message
	if s := b.stream(stream); s != nil {
		for _, m := range s.messages {
			all = append(all, m.copy())
		}
	}
	return all
}

// NextEvent returns when the next event of the broker falls due, by this process's clock: a schedule, the end of an
// AckWait, the age of a message. It reports false if there is none. Until then nothing happens without an operation.
func (b *Broker) NextEvent() (at time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	if len(b.events) == 0 || b.stopped {
		return time.Time{}, false
	}
	return time.Now().Add(b.events[0].at.Sub(b.now())), true
}

// Ready reports whether a pull from the consumer would get a message now.
func (b *Broker) Ready(stream, consumer string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	c := b.stream(stream).consumer(consumer)
	return c != nil && !b.stopped && c.ready()
}

func (b *Broker) now() time.Time { return time.Now().Add(b.offset).Round(0).UTC() }

func (b *Broker) stream(name string) *stream {
	i := slices.IndexFunc(b.streams, func(s *stream) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return b.streams[i]
}

// wake wakes all waiting operations. The caller holds the lock.
func (b *Broker) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// event is something that happens at a time of the broker's clock.
type event struct {
	at      time.Time
	ordinal uint64 // of two events at the same time, the one created first happens first
	do      func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if c := e[i].at.Compare(e[j].at); c != 0 {
		return c < 0
	}
	return e[i].ordinal < e[j].ordinal
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// at adds an event. do is called with the lock held.
func (b *Broker) at(t time.Time, do func()) {
	b.ordinal++
	heap.Push(&b.events, event{t, b.ordinal, do})
	b.wake() // waiting operations may have to wake earlier
}

// advance processes the events that have fallen due, unless the broker is stopped. The caller holds the lock.
func (b *Broker) advance() {
	now := b.now()
	for !b.stopped && len(b.events) > 0 && !b.events[0].at.After(now) {
		e := heap.Pop(&b.events).(event)
		b.stamp = later(e.at, b.floor)
		e.do()
	}
	b.stamp = later(now, b.floor)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// await waits until done returns true or the broker is closed, and then returns true. It returns false after wait, or
// when ctx ends. done is called with the lock held; it may be nil.
func (b *Broker) await(ctx context.Context, wait time.Duration, done func() bool) bool {
	deadline := time.Now().Add(wait)
	for {
		b.mu.Lock()
		b.advance()
		if b.closed || done != nil && done() {
			b.mu.Unlock()
			return true
		}
		until := deadline
		if len(b.events) > 0 && !b.stopped {
			if next := time.Now().Add(b.events[0].at.Sub(b.now())); next.Before(until) {
				until = next
			}
		}
		changed := b.changed
		b.mu.Unlock()
		if !time.Now().Before(deadline) || ctx.Err() != nil {
			return false
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func sequenceOf(m *message, sequence uint64) int { return cmp.Compare(m.Sequence, sequence) }
