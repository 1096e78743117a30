package consumer

import (
	"context"
	"slices"
	"testing"
	"time"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
)

// deadlines keeps how long each publish may take.
type deadlines struct {
	OutcomePublisher
	all []time.Duration
}

func (d *deadlines) Publish(ctx context.Context, _ ...schema.Outcome) error {
	at, _ := ctx.Deadline()
	d.all = append(d.all, time.Until(at).Round(time.Second))
	return nil
}

// An outcome that cannot be stored does not keep its slot until a next poll that is far away.
func TestPublishIsBounded(t *testing.T) {
	out := &deadlines{}
	w := &Worker{cfg: Config{Now: time.Now}, outcomes: out}
	for _, until := range []time.Duration{-time.Minute, time.Second, 20 * time.Second, 10 * time.Minute} {
		if err := w.publish(
			t.Context(),
			&delivery{Delivery: redelivery.Delivery{Until: time.Now().Add(until)}},
		); err != nil {
			t.Fatal(err)
		}
	}
	if want := []time.Duration{minPublish, minPublish, 20 * time.Second, maxPublish}; !slices.Equal(out.all, want) {
		t.Errorf("publishing may take %s, want %s", out.all, want)
	}
}
