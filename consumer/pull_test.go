package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
)

// pulling is a puller on a work queue of an embedded broker.
type pulling struct {
	*puller
	t      *testing.T
	ctx    context.Context
	broker *embedded.Server
	js     jetstream.JetStream
}

func newPulling(t *testing.T) *pulling {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	broker, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	nc, err := nats.Connect(broker.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, Retention: jetstream.WorkQueuePolicy}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second}); err != nil {
		t.Fatal(err)
	}
	p := newPuller(js, "S", "c")
	t.Cleanup(p.close)
	return &pulling{puller: p, t: t, ctx: ctx, broker: broker, js: js}
}

func (p *pulling) publish(n int) {
	p.t.Helper()
	for i := range n {
		if _, err := p.js.Publish(p.ctx, fmt.Sprintf("s.%d", i), []byte("x")); err != nil {
			p.t.Fatal(err)
		}
	}
	// The consumer learns of what is stored a moment after the publish was acknowledged.
	for {
		c, err := p.js.Consumer(p.ctx, "S", "c")
		if err != nil {
			p.t.Fatal(err)
		}
		if info := c.CachedInfo(); info.NumPending+info.Delivered.Consumer >= uint64(n) {
			return
		}
	}
}

// take pulls and acks, and gives the number of messages.
func (p *pulling) take(n int, wait time.Duration) (found int, err error) {
	err = p.pull(n, wait, func(m jetstream.Msg) {
		found++
		if _, err := m.Metadata(); err != nil {
			p.t.Error(err)
		}
		if err := m.DoubleAck(p.ctx); err != nil {
			p.t.Error(err)
		}
	})
	return found, err
}

func TestPullTakesNoMoreThanAsked(t *testing.T) {
	t.Parallel()
	p := newPulling(t)
	p.publish(7)
	for _, want := range []int{3, 3, 1, 0} {
		got, err := p.take(3, 0)
		if err != nil || got != want {
			t.Fatalf("pulled %d (%v), want %d", got, err, want)
		}
	}
	c, err := p.js.Consumer(p.ctx, "S", "c")
	if err != nil {
		t.Fatal(err)
	}
	if info := c.CachedInfo(); info.NumWaiting != 0 || info.NumAckPending != 0 {
		t.Errorf("%d pulls wait, %d messages are out; want none", info.NumWaiting, info.NumAckPending)
	}
}

func TestPullWaitsForWhatComes(t *testing.T) {
	t.Parallel()
	p := newPulling(t)
	if got, err := p.take(2, 50*time.Millisecond); err != nil || got != 0 {
		t.Fatalf("pulled %d (%v) from an empty stream", got, err)
	}
	published := make(chan struct{})
	go func() {
		defer close(published)
		p.publish(1)
	}()
	if got, err := p.take(1, 20*time.Second); err != nil || got != 1 {
		t.Fatalf("pulled %d (%v), want what is published meanwhile", got, err)
	}
	<-published
}

func TestPullGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	p := newPulling(t)
	p.publish(2)
	if got, err := p.take(1, 0); err != nil || got != 1 {
		t.Fatalf("pulled %d (%v), want 1", got, err)
	}
	p.broker.Stop()
	if _, err := p.take(1, 0); err == nil {
		t.Error("a pull from a broker that is gone had no error")
	}
	if err := p.broker.StartAgain(); err != nil {
		t.Fatal(err)
	}
	for got := 0; got == 0; {
		var err error
		if got, err = p.take(1, 100*time.Millisecond); err != nil && p.ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestPullFromADeletedConsumer(t *testing.T) {
	t.Parallel()
	p := newPulling(t)
	if err := p.js.DeleteConsumer(p.ctx, "S", "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.take(1, time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("pulled from a consumer that is gone: %v, want no responders", err)
	}
}
