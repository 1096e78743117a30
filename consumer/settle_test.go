package consumer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/schema"
)

// settling is a stream with one message out, and a wire tap on what is answered to it.
type settling struct {
	ctx  context.Context
	nc   *nats.Conn
	lane jetstream.Consumer
	tap  *nats.Subscription
	settlement
}

func newSettling(t *testing.T) *settling {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	broker, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	s := &settling{ctx: ctx}
	if s.nc, err = nats.Connect(broker.URL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nc.Close)
	js, err := jetstream.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Retention: jetstream.WorkQueuePolicy}); err != nil {
		t.Fatal(err)
	}
	if s.lane, err = js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: "lane", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "s", []byte("due")); err != nil {
		t.Fatal(err)
	}
	if s.msg, err = s.lane.Next(); err != nil {
		t.Fatal(err)
	}
	if s.tap, err = s.nc.SubscribeSync("$JS.ACK.>"); err != nil {
		t.Fatal(err)
	}
	return s
}

// sent is what has been answered to the message so far.
func (s *settling) sent(t *testing.T) []string {
	t.Helper()
	if err := s.nc.FlushWithContext(s.ctx); err != nil {
		t.Fatal(err)
	}
	var all []string
	for n, _, _ := s.tap.Pending(); n > 0; n-- {
		m, err := s.tap.NextMsg(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(m.Data))
	}
	return all
}

// left is how many messages the broker still has for the lane, out or not.
func (s *settling) left(t *testing.T) int {
	t.Helper()
	info, err := s.lane.Info(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return info.NumAckPending + int(info.NumPending)
}

// Every way to settle, then every way again: only the first one is sent.
func TestSettleOnce(t *testing.T) {
	ways := []struct {
		name   string
		settle func(*settling) error
		sends  string
		gone   bool // the message left the stream
	}{
		{"ack", func(s *settling) error { return s.ack() }, "+ACK", true},
		{"double ack", func(s *settling) error { return s.doubleAck(s.ctx) }, "+ACK", true},
		{"nak after", func(s *settling) error { return s.nakAfter(time.Hour) }, `-NAK {"delay": 3600000000000}`, false},
		{"hand back", func(s *settling) error { return s.handBack() }, "-NAK", false},
	}
	for _, first := range ways {
		t.Run(first.name, func(t *testing.T) {
			t.Parallel()
			s := newSettling(t)
			for range 2 {
				if err := s.inProgress(); err != nil {
					t.Fatal(err)
				}
			}
			if s.settled {
				t.Error("in-progress settled the delivery")
			}
			if err := first.settle(s); err != nil {
				t.Fatal(err)
			}
			for _, again := range ways {
				if err := again.settle(s); !errors.Is(err, errSettled) || !strings.Contains(err.Error(), " of s: ") {
					t.Errorf("%s after %s gave %v, want an error that says it is settled, and the subject", again.name, first.name, err)
				}
			}
			if err := s.inProgress(); !errors.Is(err, errSettled) {
				t.Errorf("in-progress after %s gave %v, want an error that says it is settled", first.name, err)
			}
			if got, want := s.sent(t), []string{"+WPI", "+WPI", first.sends}; !slices.Equal(got, want) {
				t.Errorf("sent %q, want %q", got, want)
			}
			for left := s.left(t); first.gone && left > 0; left = s.left(t) {
				// The broker takes an ack when it comes to it. The context bounds this.
			}
			if left := s.left(t); !first.gone && left != 1 {
				t.Errorf("after %s the broker has %d messages, want the one", first.name, left)
			}
		})
	}
}

// The answer to the ack of an invalid message may be lost on a connection that stays up.
func TestFinishingAnInvalidMessageEnds(t *testing.T) {
	t.Parallel()
	s := newSettling(t)
	js, err := jetstream.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(s.ctx, "S"); err != nil { // the tap is all that hears the ack now
		t.Fatal(err)
	}
	d := &delivery{settlement: settlement{msg: s.msg}}
	if err := (&reservations{}).finish(s.ctx, d); !errors.Is(err, context.DeadlineExceeded) || s.ctx.Err() != nil {
		t.Errorf("it ended with %v, and the test with %v: want a deadline of its own", err, s.ctx.Err())
	}
}

// When the broker does not answer, nobody knows what became of the message. It is not settled a second time.
func TestSettleFailedIsSettled(t *testing.T) {
	t.Parallel()
	s := newSettling(t)
	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	if err := s.doubleAck(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a double ack with an ended context gave %v", err)
	}
	s.nc.Close()
	if err := s.handBack(); !errors.Is(err, errSettled) {
		t.Errorf("a second answer gave %v", err)
	}
	if err := (&settlement{msg: s.msg}).ack(); err == nil {
		t.Error("an ack on a closed connection gave no error")
	}
}

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
		if err := w.publish(t.Context(), &delivery{until: time.Now().Add(until)}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []time.Duration{minPublish, minPublish, 20 * time.Second, maxPublish}; !slices.Equal(out.all, want) {
		t.Errorf("publishing may take %s, want %s", out.all, want)
	}
}
