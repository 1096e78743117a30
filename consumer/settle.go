package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// settlement is the one way to settle a delivery, and it does so once: a second answer would re-time or cancel a newer
// delivery of the same message. It belongs to the goroutine that handles the delivery.
type settlement struct {
	msg     jetstream.Msg
	settled bool
}

var errSettled = errors.New("the delivery is settled already")

func (s *settlement) once(name string, settle func() error) error {
	if s.settled {
		return fmt.Errorf("%s of %s: %w", name, s.msg.Subject(), errSettled)
	}
	s.settled = true
	if err := settle(); err != nil {
		return fmt.Errorf("%s of %s: %w", name, s.msg.Subject(), err)
	}
	return nil
}

// ack lets the message go without waiting for the broker. Lost, the message is delivered again: the caller must be
// able to tell that it was settled.
func (s *settlement) ack() error { return s.once("ack", s.msg.Ack) }

// doubleAck lets the message go and waits until the broker has said so. An error means that nobody knows.
func (s *settlement) doubleAck(ctx context.Context) error {
	return s.once("ack", func() error { return s.msg.DoubleAck(ctx) })
}

// nakAfter hands the message back until d has passed. The broker takes a delay of 0 or less for now.
func (s *settlement) nakAfter(d time.Duration) error {
	return s.once("nak", func() error { return s.msg.NakWithDelay(d) })
}

// handBack hands the message back for anyone to take at once.
func (s *settlement) handBack() error { return s.once("nak", s.msg.Nak) }

// inProgress starts the broker's AckWait anew. It settles nothing.
func (s *settlement) inProgress() error {
	if s.settled {
		return fmt.Errorf("in-progress of %s: %w", s.msg.Subject(), errSettled)
	}
	return s.msg.InProgress()
}
