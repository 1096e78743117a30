package explore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema/broker"
)

// The operations of the vendor, beside those of the broker.
const (
	poll   fake.Op = "poll"   // the worker is about to send a status request
	answer fake.Op = "answer" // the vendor has received it, and is about to answer
)

// operation is an operation that waits at the gate.
type operation struct {
	actor  *actor
	kind   fake.Op
	object string
	// id is the interaction, or empty. reads and writes are what it touches.
	id            string
	reads, writes resources
	// background marks operations of the fleet, of the clock and of the start of a worker.
	background  bool
	conditional bool            // a publish with a condition
	delivery    broker.Delivery // that it settles
	keepable    bool            // an ack whose message workers find if the broker keeps it
	do          func() (any, error)

	done chan result // nil if the caller does not wait
	gone atomic.Bool // the caller of a poll has given up: there is no request
	pull *pull       // set for a pull

	// The explorer's.
	key     string
	arrived time.Time
	at      time.Time // when it may happen
	fate    Fate
	stopped bool // its worker was stopped by its fate
	copy    bool // it happens for the second time
}

type result struct {
	value any
	err   error
}

// pull is a pull that waits for messages.
type pull struct {
	stream, consumer string
	wait             bool
	expires          time.Time
	// empty means that there is no message for it.
	empty bool
}

// resources are what operations touch.
type resources uint8

// The resources. A consumer of due messages never delivers reservations, so these two do not depend on each other.
const (
	declarations resources = 1 << iota
	reservations
	dueMessages
	outcomes
	announcements
	vendor
)

// answerWithin is how long a request without a deadline waits, as with nats.go.
const answerWithin = 5 * time.Second

// enter puts an operation at the gate. It reports false if its actor is dead.
func (x *engine) enter(o *operation) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if o.actor.dead || x.over {
		return false
	}
	x.incoming = append(x.incoming, o)
	select {
	case x.arrivals <- struct{}{}:
	default:
	}
	return true
}

// call makes an operation and waits for its result, until ctx ends or its actor dies.
func (x *engine) call(ctx context.Context, o *operation) (any, error) {
	failed := func(kind, cause error) error {
		return &broker.Error{Op: string(o.kind), Object: o.object, Kind: kind, Cause: cause}
	}
	if ctx.Err() != nil {
		return nil, failed(broker.ErrNoAnswer, ctx.Err())
	}
	o.done = make(chan result, 1)
	if !x.enter(o) {
		return nil, failed(broker.ErrClosed, nil)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, answerWithin)
		defer cancel()
	}
	select {
	case r := <-o.done:
		return r.value, r.err
	case <-ctx.Done():
		return nil, failed(broker.ErrNoAnswer, ctx.Err())
	case <-o.actor.killed:
		return nil, failed(broker.ErrClosed, nil)
	}
}

// send makes an operation that has no answer.
func (x *engine) send(o *operation) error {
	if !x.enter(o) {
		return &broker.Error{Op: string(o.kind), Object: o.object, Kind: broker.ErrClosed}
	}
	return nil
}

// answers reports whether the broker answered: then the caller gets the result.
func answers(err error) bool { return !errors.Is(err, broker.ErrNoAnswer) }

// reply passes a result to the caller.
func (o *operation) reply(r result) {
	if o.done != nil {
		select {
		case o.done <- r:
		default: // it was answered before
		}
	}
}

// inTransit reports whether the request was sent, and is on its way: its sender cannot stop it.
func (o *operation) inTransit() bool { return o.fate.Hold > 0 && o.travels() }

// settles reports whether it settles a delivery, or marks it as in progress.
func (o *operation) settles() bool {
	return o.kind == fake.Ack || o.kind == fake.AckConfirmed || o.kind == fake.Nak || o.kind == fake.InProgress
}

// readsMessages reports whether it reads messages, or their subjects, from a stream's leader.
func (o *operation) readsMessages() bool {
	switch o.kind {
	case fake.Last, fake.Get, fake.Next, fake.Scan, fake.Count, fake.Subjects:
		return !o.background
	}
	return false
}

// travels reports whether the request can be on its way.
func (o *operation) travels() bool { return o.kind != poll && o.kind != answer && o.pull == nil }

func (o *operation) String() string { return fmt.Sprintf("%s %s", o.kind, o.object) }
