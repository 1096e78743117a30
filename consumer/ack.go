package consumer

import (
	"sync"
	"time"

	"statusworker/consumer/redelivery"
	"statusworker/schema/broker"
)

const (
	// backlogFrom is the number of messages that the consumer has not delivered yet (Delivery.Pending) from which
	// acknowledgements are delayed. With fewer, the broker finds the next message in microseconds.
	backlogFrom = 500
	// maxAckDelay is how long an acknowledgement may be delayed: much less than AckWait.
	maxAckDelay = 500 * time.Millisecond
)

// lateAcks delays the acknowledgements of a lane while the lane has a backlog. It keeps the last requested
// acknowledgement, and sends it when the next one is requested, or after maxAckDelay.
//
// While an acknowledgement is kept, its message is still stored, before the messages that the lane's consumer has not
// delivered. If no such message is stored, nats-server (fileStore.LoadNextMsg) visits every due subject of the lane to
// find the next message to deliver. After an outage almost every interaction in flight is due, and without the delay
// all delivered messages are acknowledged and deleted at almost every pull.
//
// A message is acknowledged only when it is not needed any more. If the acknowledgement is lost, the message is
// redelivered, and the worker that gets it finds the reservation of the next poll, and drops it.
type lateAcks struct {
	redelivery.Settler

	mu    sync.Mutex
	last  broker.Delivery // acknowledged by the lane, and not yet to the broker
	holds bool            // whether there is one
	timer *time.Timer
}

// Ack implements [redelivery.Settler]. In a backlog, the error is that of the previous acknowledgement.
func (a *lateAcks) Ack(d broker.Delivery) error {
	if d.Pending < backlogFrom {
		return a.Settler.Ack(d)
	}
	a.mu.Lock()
	before, held := a.last, a.holds
	a.last, a.holds = d, true
	if a.timer == nil {
		a.timer = time.AfterFunc(maxAckDelay, a.flush)
	} else {
		a.timer.Reset(maxAckDelay)
	}
	a.mu.Unlock()
	if !held {
		return nil
	}
	return a.Settler.Ack(before)
}

// flush sends the acknowledgement that is delayed.
func (a *lateAcks) flush() {
	a.mu.Lock()
	last, held := a.last, a.holds
	a.last, a.holds = broker.Delivery{}, false
	a.mu.Unlock()
	if held {
		_ = a.Settler.Ack(last) // if it fails, the message is redelivered
	}
}
