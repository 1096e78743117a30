package overview

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/consumer/redelivery"
)

// Overdue are reservations that the broker has not published though their time passed by more than
// [redelivery.OverdueAfter]: what they stand for is not polled.
type Overdue struct {
	// Count is how many were found; More says that there may be others.
	Count int  `json:"count"`
	More  bool `json:"more"`
	// FirstSeconds is for how long the one that should have been published first is due.
	FirstSeconds float64 `json:"firstSeconds"`
}

const (
	// MaxOverdue is up to how many overdue reservations are counted.
	MaxOverdue = 100
	// overdueWithin is for how long they are counted: each takes a round trip to the broker.
	overdueWithin = time.Second
)

// CountOverdue counts the reservations that are overdue at a time of the broker's clock.
func CountOverdue(ctx context.Context, js jetstream.JetStream, now time.Time) (*Overdue, error) {
	o, began := &Overdue{}, time.Now()
	for r, err := range redelivery.FindOverdue(ctx, adapter.New(js), now, redelivery.OverdueAfter) {
		if err != nil {
			return nil, err
		}
		if o.Count == MaxOverdue || o.Count > 0 && time.Since(began) > overdueWithin {
			o.More = true
			break
		}
		o.Count++
		o.FirstSeconds = max(o.FirstSeconds, seconds(now.Sub(r.Due)))
	}
	return o, nil
}
