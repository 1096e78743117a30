// Package fake is a broker in memory, for tests of what is built on [broker.Broker]. It behaves as a NATS server with
// JetStream does, as far as cmd/broker/conformance compares them, and it fails in the ways that a test asks for: see
// [Broker.Inject] for single operations, and [Broker.Restart], [Broker.Crash], [Broker.StepDown], [Broker.Stop],
// [Broker.SetFull], [Broker.SetClock] and [Broker.Redeliver] for the broker as a whole.
//
// It has no goroutine and no socket, and its timers are those of operations that wait: between two calls nothing
// happens, and each call first makes happen what has fallen due. So it is deterministic within [testing/synctest],
// where its clock is the bubble's, and leaves nothing behind.
//
// It lies under cmd beside the adapter, and outside internal, because tests of consumer and publisher import it.
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

// Options say how a broker is made. The zero value is a single server that is never late.
type Options struct {
	// FiresLate is how late schedules fire. A real broker is 0.14 s late at the median.
	FiresLate time.Duration
	// FiringTakes is the time between the moment when a schedule fires and the moment when its message is stored. What
	// replaces the schedule in between is acknowledged, and then taken away with it.
	FiringTakes time.Duration
	// FiredSeen is for how long a schedule that has fired is still there, beside the message that it made: it is read,
	// and refuses other publishes. Replicated streams show this.
	FiredSeen time.Duration
	// AckedSeen is for how long a message of a work queue that is acked is still there: it is read, counts and refuses
	// others, and is not delivered. Replicated streams show this.
	AckedSeen time.Duration
	// Replicated makes publishes be judged as on a replicated stream: a duplicate is found before the condition is
	// looked at.
	Replicated bool
	// AnswerWithin bounds how long an operation waits whose context has no deadline; 0 is 5 s, like nats.go.
	AnswerWithin time.Duration
}

// Broker is a broker in memory. It is safe for concurrent use.
type Broker struct {
	o Options

	mu      sync.Mutex
	streams []*stream
	offset  time.Duration // the broker's clock is ahead by so much
	// stamp is the broker's time of what is happening. It is at least floor: a clock that was set forward makes much
	// happen at once, and none of it before.
	stamp, floor time.Time
	events       events
	ordinal      uint64
	full         bool
	closed       bool
	stopped      bool
	// buffered is what clients asked for while the broker was stopped.
	buffered []func()
	faults   []*Fault
	// changed is closed when something has changed that somebody may wait for, and replaced.
	changed chan struct{}
}

var _ broker.Broker = (*Broker)(nil)

// New makes a broker that has these streams and consumers.
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

// Close closes the connection for good: what waits, and all that is asked from now on, fails with [broker.ErrClosed].
func (b *Broker) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.wake()
}

// Now is the broker's time.
func (b *Broker) Now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now()
}

// Stored gives all messages of a stream, in the order of their sequences. It is no operation of a client: no fault
// reaches it.
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

func (b *Broker) now() time.Time { return time.Now().Add(b.offset).Round(0).UTC() }

func (b *Broker) stream(name string) *stream {
	i := slices.IndexFunc(b.streams, func(s *stream) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return b.streams[i]
}

// wake wakes all that wait. The lock is held.
func (b *Broker) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// event is something that happens at some time of the broker.
type event struct {
	at      time.Time
	ordinal uint64 // of two at the same time, the first made happens first
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

// at makes something happen at a time of the broker. The lock is held then, too.
func (b *Broker) at(t time.Time, do func()) {
	b.ordinal++
	heap.Push(&b.events, event{t, b.ordinal, do})
	b.wake() // who waits may have to wake earlier
}

// advance makes happen what has fallen due. A stopped broker does nothing. The lock is held.
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

// await returns when done says so, or after a time; done is asked with the lock held, and may be nil. It tells which of
// them was the case. The context may end it as well.
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
