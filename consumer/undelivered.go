package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/schema/broker"
)

const (
	// maxPending is the number of messages of a consumer from which undelivered ones are not searched: the broker would
	// visit all subjects.
	maxPending = 1000
	// removedWithin is how long the broker may take to remove a message that is acknowledged.
	removedWithin = time.Second
)

// watchUndelivered claims messages that the broker stores and does not deliver, until ctx ends. Such a message would
// stay for ever otherwise, and would keep its interaction from being polled when it is declared again. With delayed
// naks, workers claim nothing: two of them could poll at the same time.
func (w *Worker) watchUndelivered(ctx context.Context) error {
	for w.awaitSearch(ctx) {
		for _, l := range w.lanes {
			claimed, err := w.claim(ctx, l)
			if claimed > 0 {
				w.log.WithFields(logrus.Fields{"messages": claimed, "stream": l.stream, "consumer": l.name}).
					Warn("NATS does not deliver stored messages; claiming them")
			}
			if err != nil && ctx.Err() == nil {
				w.warn("searching for messages that NATS does not deliver", err)
			}
		}
	}
	return nil
}

// claim passes the messages of a lane's consumer that the broker stores and does not deliver to the lane, one at a
// time, and the lane handles them like others. Each has been stored for OverdueAfter. If another worker handles one,
// too, or if it is delivered all the same, the reservations of package redelivery keep the second worker from polling.
func (w *Worker) claim(ctx context.Context, l *lane) (claimed int, err error) {
	for last := uint64(0); ; {
		m, err := w.undelivered(ctx, l)
		if err != nil || m == nil || m.Sequence == last {
			return claimed, err
		}
		if !wait(ctx, removedWithin) {
			return claimed, nil
		}
		again, err := w.undelivered(ctx, l)
		if err != nil || again == nil {
			return claimed, err
		}
		if again.Sequence != m.Sequence {
			continue
		}
		select {
		case <-ctx.Done():
			return claimed, nil
		case <-time.After(2 * pullWait):
			return claimed, nil // the lane is paused: a later search finds the message
		case l.undelivered <- w.broker.Claim(l.stream, l.name, *again):
			claimed++
			w.count.claimed.Add(1)
		}
		last = m.Sequence
		if !wait(ctx, removedWithin) {
			return claimed, nil
		}
	}
}

// wait reports whether a time has passed before ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// undelivered returns the first message of a lane's consumer if the consumer counts it as acknowledged, or nil. It also
// returns nil if the consumer has more than maxPending messages, or if the message is younger than OverdueAfter.
//
// It reads from the beginning of the stream, where nats-server (fileStore.LoadNextMsg) uses its index of subjects. From
// a later sequence on, it would read the whole stream, and publishes would wait for that.
func (w *Worker) undelivered(ctx context.Context, l *lane) (*broker.Message, error) {
	// Read the consumer before the stream: a message that the consumer has acknowledged is then gone from the stream,
	// unless it is undelivered.
	state, err := w.broker.Consumer(ctx, l.stream, l.name)
	if err != nil || state.Pending > maxPending || !state.CountsAsAcked(1) {
		return nil, err
	}
	m, err := w.broker.Next(ctx, l.stream, l.filter, 1)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil || !state.CountsAsAcked(m.Sequence) || state.Now.Sub(m.Time) < w.cfg.OverdueAfter {
		return nil, err
	}
	return &m, nil
}
