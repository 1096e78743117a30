package fake

import (
	"fmt"
	"slices"
	"time"

	"statusworker/schema/broker"
)

type consumer struct {
	broker.ConsumerConfig
	s *stream
	// next is the sequence of its next message, delivered counts its deliveries.
	next, delivered uint64
	// pending counts the messages from next on.
	pending uint64
	out     map[uint64]*outstanding // by sequence
	queue   []uint64                // sequences to redeliver
	counts  map[uint64]uint64       // of deliveries, by sequence
	waiting []*request
}

// outstanding is a delivery that has not been acked.
type outstanding struct {
	// since is when AckWait began, and stored is the time that the broker keeps of it over a restart.
	since, stored time.Time
	armed         int // how often; only the last timer redelivers
}

// request is a pending pull.
type request struct {
	left  int
	inbox []broker.Delivery
	ended error
}

// recovery is the shortest time after which a new leader redelivers pending deliveries.
const recovery = 500 * time.Millisecond

func newConsumer(s *stream, c broker.ConsumerConfig) *consumer {
	if c.AckWait <= 0 {
		c.AckWait = 30 * time.Second
	}
	if c.MaxAckPending == 0 {
		c.MaxAckPending = 1000
	}
	created := &consumer{ConsumerConfig: c, s: s}
	created.forget()
	return created
}

func (s *stream) consumer(name string) *consumer {
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.consumers, func(c *consumer) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return s.consumers[i]
}

func (c *consumer) filters() []string {
	if c.Filter == "" {
		return nil
	}
	return []string{c.Filter}
}

// serve delivers messages to the pending pulls in turn.
func (c *consumer) serve() {
	if c.s.b.stopped {
		return
	}
	for len(c.waiting) > 0 {
		m := c.take()
		if m == nil {
			return
		}
		r := c.waiting[0]
		c.waiting = c.waiting[1:]
		if r.left--; r.left > 0 {
			c.waiting = append(c.waiting, r)
		}
		r.inbox = append(r.inbox, c.deliver(m))
		c.s.b.wake()
	}
}

// take returns the next message to deliver, or nil.
func (c *consumer) take() *message {
	for len(c.queue) > 0 {
		sequence := c.queue[0]
		c.queue = c.queue[1:]
		if i, ok := slices.BinarySearchFunc(c.s.messages, sequence, sequenceOf); ok {
			return c.s.messages[i]
		}
	}
	if c.MaxAckPending > 0 && len(c.out) >= c.MaxAckPending {
		return nil
	}
	for m := c.s.nextOn(c.filters(), c.next); m != nil; m = c.s.nextOn(c.filters(), c.next) {
		c.next = m.Sequence + 1
		c.pending--
		if passes(c.Filter, m.Subject) {
			return m
		}
	}
	return nil
}

// ready reports whether take would return a message.
func (c *consumer) ready() bool {
	stored := func(sequence uint64) bool {
		_, ok := slices.BinarySearchFunc(c.s.messages, sequence, sequenceOf)
		return ok
	}
	if slices.ContainsFunc(c.queue, stored) {
		return true
	}
	if c.MaxAckPending > 0 && len(c.out) >= c.MaxAckPending {
		return false
	}
	for from := c.next; ; {
		m := c.s.nextOn(c.filters(), from)
		if m == nil || passes(c.Filter, m.Subject) {
			return m != nil
		}
		from = m.Sequence + 1
	}
}

func (c *consumer) deliver(m *message) broker.Delivery {
	o := c.out[m.Sequence]
	if o == nil {
		o = &outstanding{}
		c.out[m.Sequence] = o
	}
	c.counts[m.Sequence]++
	c.delivered++
	o.stored = m.Time // not the time of this delivery
	c.arm(m.Sequence, o, c.s.b.stamp, 0)
	return broker.Delivery{
		Message: m.copy(), Stream: c.s.Name, Consumer: c.Name, Count: c.counts[m.Sequence],
		Pending: c.pending,
		Token:   fmt.Sprintf("%s.%s.%d.%d", c.s.Name, c.Name, m.Sequence, c.delivered),
	}
}

// arm starts AckWait at the time since. It ends after AckWait, but not before the duration least has passed from now.
func (c *consumer) arm(sequence uint64, o *outstanding, since time.Time, least time.Duration) {
	o.since = since
	o.armed++
	armed := o.armed
	c.s.b.at(later(since.Add(c.AckWait), c.s.b.stamp.Add(least)), func() {
		if c.out[sequence] == o && o.armed == armed {
			c.again(sequence)
			c.serve()
		}
	})
}

// again queues a message for redelivery, unless it was delivered as often as it may be.
func (c *consumer) again(sequence uint64) {
	if c.MaxDeliver > 0 && c.counts[sequence] >= uint64(c.MaxDeliver) {
		delete(c.out, sequence)
		return
	}
	if !slices.Contains(c.queue, sequence) {
		c.queue = append(c.queue, sequence)
	}
}

// ack reports whether the broker answers. It does not if this consumer has not delivered the message since it lost its
// state.
func (c *consumer) ack(sequence uint64) bool {
	if sequence >= c.next {
		return false
	}
	c.drop(sequence)
	switch seen := c.s.b.o.AckedSeen; {
	case !c.s.WorkQueue, c.s.b.keeps:
	case seen > 0:
		c.s.b.at(c.s.b.stamp.Add(seen), func() { c.s.remove(sequence) })
	default:
		c.s.remove(sequence)
	}
	c.serve() // MaxAckPending may allow another delivery now
	return true
}

// nak ignores which delivery it is for, like ack and inProgress: a late one settles a newer delivery.
func (c *consumer) nak(sequence uint64, delay time.Duration) {
	o := c.out[sequence]
	switch {
	case o == nil:
	case delay > 0:
		c.unqueue(sequence)
		o.stored = c.s.b.stamp.Add(delay - c.AckWait)
		c.arm(sequence, o, o.stored, 0)
	default:
		c.again(sequence)
		c.serve()
	}
}

func (c *consumer) inProgress(sequence uint64) {
	if o := c.out[sequence]; o != nil {
		o.stored = c.s.b.stamp
		c.arm(sequence, o, o.stored, 0)
	}
}

// floor returns the sequence up to which all messages are acknowledged.
func (c *consumer) floor() uint64 {
	floor := c.next - 1
	for sequence := range c.out {
		floor = min(floor, sequence-1)
	}
	return floor
}

// count updates pending for a message that was stored (by 1) or removed (by -1).
func (c *consumer) count(m *message, by int) {
	if m.Sequence >= c.next && matchesAny(c.filters(), m.Subject) {
		c.pending += uint64(by)
	}
}

// drop forgets a message that was acked or removed.
func (c *consumer) drop(sequence uint64) {
	delete(c.out, sequence)
	delete(c.counts, sequence)
	c.unqueue(sequence)
}

func (c *consumer) unqueue(sequence uint64) {
	c.queue = slices.DeleteFunc(c.queue, func(s uint64) bool { return s == sequence })
}

// forget resets the consumer to the state of a new one.
func (c *consumer) forget() {
	c.next, c.delivered, c.pending = 1, 0, 0
	for _, m := range c.s.messages {
		c.count(m, 1)
	}
	c.out, c.counts, c.queue = map[uint64]*outstanding{}, map[uint64]uint64{}, nil
}

// restored sets the state after a restart, moved the state on a new leader.
func (c *consumer) restored() {
	c.resume(func(t time.Time) time.Time { return t.Truncate(time.Second) })
}
func (c *consumer) moved() { c.resume(func(t time.Time) time.Time { return t }) }

func (c *consumer) resume(stored func(time.Time) time.Time) {
	c.queue = nil
	for _, m := range c.s.messages { // in order
		if o := c.out[m.Sequence]; o != nil {
			c.arm(m.Sequence, o, stored(o.stored), min(recovery, c.AckWait))
		}
	}
}
