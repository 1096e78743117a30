package redelivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema/broker"
)

// settling is a stream with one message in flight. It records how it is settled.
type settling struct {
	*fake.Broker
	Settlement
	sent []string
}

func (s *settling) Ack(d broker.Delivery) error {
	s.sent = append(s.sent, "ack")
	return s.Broker.Ack(d)
}

func (s *settling) AckConfirmed(ctx context.Context, d broker.Delivery) error {
	s.sent = append(s.sent, "ack")
	return s.Broker.AckConfirmed(ctx, d)
}

func (s *settling) Nak(d broker.Delivery, delay time.Duration) error {
	s.sent = append(s.sent, fmt.Sprint("nak ", delay))
	return s.Broker.Nak(d, delay)
}

func (s *settling) InProgress(d broker.Delivery) error {
	s.sent = append(s.sent, "in progress")
	return s.Broker.InProgress(d)
}

func newSettling(t *testing.T) *settling {
	t.Helper()
	s := &settling{Broker: fake.New(fake.Options{}, broker.StreamConfig{
		Name: "S", Subjects: []string{"s"}, WorkQueue: true,
		Consumers: []broker.ConsumerConfig{{Name: "lane", AckWait: time.Minute}},
	})}
	t.Cleanup(s.Close)
	s.broker = s
	if _, err := s.Publish(t.Context(), broker.Publication{Subject: "s", Data: []byte("due")}); err != nil {
		t.Fatal(err)
	}
	err := s.Puller("S", "lane").Pull(1, 0, func(d broker.Delivery) { s.Message = d })
	if err != nil || s.Message.Count != 1 {
		t.Fatalf("pulled %+v: %v", s.Message, err)
	}
	return s
}

// A delivery is settled in each way, and then again: only the first settlement is sent.
func TestSettleOnce(t *testing.T) {
	ways := []struct {
		name    string
		settle  func(context.Context, *settling) error
		sends   string
		deletes bool // the message is deleted
	}{
		{"ack", func(_ context.Context, s *settling) error { return s.Settlement.Ack() }, "ack", true},
		{"confirmed ack", func(ctx context.Context, s *settling) error { return s.Settlement.AckConfirmed(ctx) }, "ack",
			true},
		{"nak after", func(_ context.Context, s *settling) error { return s.NakAfter(time.Hour) }, "nak 1h0m0s", false},
		{"return now", func(_ context.Context, s *settling) error { return s.ReturnNow() }, "nak 0s", false},
	}
	for _, first := range ways {
		t.Run(first.name, func(t *testing.T) {
			s := newSettling(t)
			for range 2 {
				if err := s.Settlement.InProgress(); err != nil {
					t.Fatal(err)
				}
			}
			if s.settled {
				t.Error("in-progress settled the delivery")
			}
			if err := first.settle(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			for _, again := range ways {
				if err := again.settle(t.Context(), s); !errors.Is(err, errSettled) {
					t.Errorf("%s after %s returned %v, want %v", again.name, first.name, err, errSettled)
				}
			}
			if err := s.Settlement.InProgress(); !errors.Is(err, errSettled) {
				t.Errorf("in-progress after %s returned %v, want %v", first.name, err, errSettled)
			}
			if want := []string{"in progress", "in progress", first.sends}; !slices.Equal(s.sent, want) {
				t.Errorf("sent %q, want %q", s.sent, want)
			}
			if left := len(s.Stored("S")); first.deletes != (left == 0) {
				t.Errorf("after %s the broker has %d messages", first.name, left)
			}
		})
	}
}

// The answer to the ack of an invalid message can be lost. Finish then ends with an error.
func TestFinishWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSettling(t)
		s.Inject(fake.Fault{Op: fake.AckConfirmed, Lost: fake.Answer})
		d := Receive(s, ns, s.Message, time.Now())
		began := time.Now()
		err := (&Reservations{}).Finish(t.Context(), &d)
		if !errors.Is(err, broker.ErrNoAnswer) || time.Since(began) != ackTimeout {
			t.Errorf("it ended with %v after %s, want no answer after %s", err, time.Since(began), ackTimeout)
		}
	})
}

// If the broker does not answer, the result is unknown, and the message is not settled a second time.
func TestFailedSettlementIsFinal(t *testing.T) {
	s := newSettling(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Settlement.AckConfirmed(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an ack with an ended context returned %v", err)
	}
	s.Close()
	if err := s.ReturnNow(); !errors.Is(err, errSettled) {
		t.Errorf("a second settlement returned %v", err)
	}
	if err := (&Settlement{broker: s, Message: s.Message}).Ack(); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("an ack on a closed connection returned %v", err)
	}
}
