package consumer

import (
	"context"
	"slices"
	"testing"
	"time"

	"statusworker/consumer/redelivery"
	"statusworker/schema"
)

// deadlines records the timeout of each publish.
type deadlines struct {
	OutcomePublisher
	all []time.Duration
}

func (d *deadlines) Publish(ctx context.Context, _ ...schema.Outcome) error {
	at, _ := ctx.Deadline()
	d.all = append(d.all, time.Until(at).Round(time.Second))
	return nil
}

// Publishing has a limit: an outcome that cannot be stored does not occupy its slot until a distant next poll.
func TestPublishIsBounded(t *testing.T) {
	out := &deadlines{}
	w := &Worker{cfg: Config{Now: time.Now}, outcomes: out}
	for _, until := range []time.Duration{-time.Minute, time.Second, 20 * time.Second, 10 * time.Minute} {
		d := &delivery{Delivery: redelivery.Delivery{Until: time.Now().Add(until)}}
		if err := w.publish(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if want := []time.Duration{minPublish, minPublish, 20 * time.Second, maxPublish}; !slices.Equal(out.all, want) {
		t.Errorf("the timeouts are %s, want %s", out.all, want)
	}
}
