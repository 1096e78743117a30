package overview

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/adapter"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
)

// Overdue counts reservations that the broker has not published more than [redelivery.OverdueAfter] after their due
// time. Their interactions are not polled.
type Overdue struct {
	// Count is the number of reservations. With More there may be others.
	Count int  `json:"count"`
	More  bool `json:"more"`
	// FirstSeconds is how long the first of them has been due.
	FirstSeconds float64 `json:"firstSeconds"`
}

const (
	// MaxOverdue is the largest number of overdue reservations that are counted.
	MaxOverdue = 100
	// overdueWithin limits the duration of the count: each reservation takes a round trip to the broker.
	overdueWithin = time.Second
)

// CountOverdue counts the reservations of a namespace that are overdue at now, a time of the broker's clock.
func CountOverdue(ctx context.Context, js jetstream.JetStream, n schema.Namespace, now time.Time) (*Overdue, error) {
	o, began := &Overdue{}, time.Now()
	for r, err := range redelivery.FindOverdue(ctx, adapter.New(js), n, now, redelivery.OverdueAfter) {
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
