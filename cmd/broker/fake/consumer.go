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
	// next is the sequence at which it goes on, delivered counts its deliveries.
	next, delivered uint64
	// pending is how many messages there are from next on.
	pending uint64
	out     map[uint64]*outstanding // by sequence
	queue   []uint64
	counts  map[uint64]uint64
	waiting []*request
}

// outstanding is a delivery that is not acked.
type outstanding struct {
	// since is when AckWait began, and stored is what the broker remembers of it over a restart.
	since, stored time.Time
	armed         int // how often; only the last one expires
}

// request is a pull that waits.
type request struct {
	left  int
	inbox []broker.Delivery
	ended error
}

// recovery is the least time after which a leader that was made anew delivers again what was out.
const recovery = 500 * time.Millisecond

func newConsumer(s *stream, c broker.ConsumerConfig) *consumer {
	if c.AckWait <= 0 {
		c.AckWait = 30 * time.Second
	}
	if c.MaxAckPending == 0 {
		c.MaxAckPending = 1000
	}
	made := &consumer{ConsumerConfig: c, s: s}
	made.forget()
	return made
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

// serve hands out what there is, in turns, to those who wait.
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

// take is the next message to be delivered.
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

func (c *consumer) deliver(m *message) broker.Delivery {
	o := c.out[m.Sequence]
	if o == nil {
		o = &outstanding{}
		c.out[m.Sequence] = o
	}
	c.counts[m.Sequence]++
	c.delivered++
	o.stored = m.Time // and not the time of this delivery
	c.arm(m.Sequence, o, c.s.b.stamp, 0)
	return broker.Delivery{
		Message: m.copy(), Stream: c.s.Name, Consumer: c.Name, Count: c.counts[m.Sequence],
		Pending: c.pending,
		Token:   fmt.Sprintf("%s.%s.%d.%d", c.s.Name, c.Name, m.Sequence, c.delivered),
	}
}

// arm makes AckWait begin at a time, and end no sooner than some time from now.
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

// again has a message delivered once more.
func (c *consumer) again(sequence uint64) {
	if !slices.Contains(c.queue, sequence) {
		c.queue = append(c.queue, sequence)
	}
}

// ack tells whether it is answered. It is not where this consumer has not delivered the message, as far as it
// remembers.
func (c *consumer) ack(sequence uint64) bool {
	if sequence >= c.next {
		return false
	}
	c.drop(sequence)
	switch seen := c.s.b.o.AckedSeen; {
	case !c.s.WorkQueue:
	case seen > 0:
		c.s.b.at(c.s.b.stamp.Add(seen), func() { c.s.remove(sequence) })
	default:
		c.s.remove(sequence)
	}
	c.serve() // there may be room now
	return true
}

// Whose delivery a settlement is of counts for nothing: one that comes late settles a newer delivery.

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

// count notes a message that was stored, by 1, or that is gone, by -1.
func (c *consumer) count(m *message, by int) {
	if m.Sequence >= c.next && matchesAny(c.filters(), m.Subject) {
		c.pending += uint64(by)
	}
}

// drop forgets a message that is acked or gone.
func (c *consumer) drop(sequence uint64) {
	delete(c.out, sequence)
	delete(c.counts, sequence)
	c.unqueue(sequence)
}

func (c *consumer) unqueue(sequence uint64) {
	c.queue = slices.DeleteFunc(c.queue, func(s uint64) bool { return s == sequence })
}

// forget makes it as it was when it was made.
func (c *consumer) forget() {
	c.next, c.delivered, c.pending = 1, 0, 0
	for _, m := range c.s.messages {
		c.count(m, 1)
	}
	c.out, c.counts, c.queue = map[uint64]*outstanding{}, map[uint64]uint64{}, nil
}

// restored makes it as it is after a restart, moved as it is with another leader.
func (c *consumer) restored() {
	c.resume(func(t time.Time) time.Time { return t.Truncate(time.Second) })
}
func (c *consumer) moved() { c.resume(func(t time.Time) time.Time { return t }) }

func (c *consumer) resume(remembered func(time.Time) time.Time) {
	c.queue = nil
	for _, m := range c.s.messages { // in their order
		if o := c.out[m.Sequence]; o != nil {
			c.arm(m.Sequence, o, remembered(o.stored), min(recovery, c.AckWait))
		}
	}
}
