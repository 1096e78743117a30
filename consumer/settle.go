package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statusworker/schema/broker"
)

// settlement is the one way to settle a delivery, and it does so once: a second answer would re-time or cancel a newer
// delivery of the same message. It belongs to the goroutine that handles the delivery.
type settlement struct {
	broker  settler
	msg     broker.Delivery
	settled bool
}

var errSettled = errors.New("the delivery is settled already")

// once allows one settlement.
func (s *settlement) once(name string) error {
	if s.settled {
		return fmt.Errorf("%s of %s: %w", name, s.msg.Subject, errSettled)
	}
	s.settled = true
	return nil
}

// ack lets the message go without waiting for the broker. Lost, the message is delivered again: the caller must be
// able to tell that it was settled.
func (s *settlement) ack() error {
	if err := s.once("ack"); err != nil {
		return err
	}
	return s.broker.Ack(s.msg)
}

// ackConfirmed lets the message go and waits until the broker has said so. An error means that nobody knows.
func (s *settlement) ackConfirmed(ctx context.Context) error {
	if err := s.once("ack"); err != nil {
		return err
	}
	return s.broker.AckConfirmed(ctx, s.msg)
}

// nakAfter hands the message back until d has passed. The broker takes a delay of 0 or less for now.
func (s *settlement) nakAfter(d time.Duration) error {
	if err := s.once("nak"); err != nil {
		return err
	}
	return s.broker.Nak(s.msg, d)
}

// handBack hands the message back for anyone to take at once.
func (s *settlement) handBack() error { return s.nakAfter(0) }

// inProgress starts the broker's AckWait anew. It settles nothing.
func (s *settlement) inProgress() error {
	if s.settled {
		return fmt.Errorf("in-progress of %s: %w", s.msg.Subject, errSettled)
	}
	return s.broker.InProgress(s.msg)
}
