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

// claim passes the messages of a lane's consumer that the broker stores and does not deliver to the lane, which handles
// them like others. Each has been stored for OverdueAfter. If another worker handles one, too, or if it is delivered
// all the same, the reservations of package redelivery keep the second worker from polling.
func (w *Worker) claim(ctx context.Context, l *lane) (claimed int, err error) {
	m, err := w.undelivered(ctx, l, 1)
	if err != nil || m == nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, nil
	case <-time.After(removedWithin):
	}
	for first := m.Sequence; ; {
		if m, err = w.undelivered(ctx, l, first); err != nil || m == nil {
			return claimed, err
		}
		select {
		case <-ctx.Done():
			return claimed, nil
		case <-time.After(2 * pullWait):
			return claimed, nil // the lane is paused: a later search finds the rest
		case l.undelivered <- w.broker.Claim(l.stream, l.name, *m):
			claimed++
			w.count.claimed.Add(1)
		}
		first = m.Sequence + 1
	}
}

// undelivered returns the first stored message of a lane's consumer from a sequence on if the broker does not deliver
// it: the consumer counts it as acknowledged, and it has been stored for OverdueAfter. Otherwise it returns nil.
func (w *Worker) undelivered(ctx context.Context, l *lane, from uint64) (*broker.Message, error) {
	// The consumer is read before the stream. Messages that are acknowledged by then are no longer stored when the
	// stream is read, so they are not taken for undelivered ones.
	state, err := w.broker.Consumer(ctx, l.stream, l.name)
	if err != nil || state.Pending > maxPending || !state.CountsAsAcked(from) {
		return nil, err
	}
	m, err := w.broker.Next(ctx, l.stream, l.filter, from)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil || !state.CountsAsAcked(m.Sequence) || state.Now.Sub(m.Time) < w.cfg.OverdueAfter {
		return nil, err
	}
	return &m, nil
}
