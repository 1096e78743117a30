package redelivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statusworker/schema/broker"
)

// Settlement is the one way to settle a delivery, and it does so once: a second answer would re-time or cancel a newer
// delivery of the same message. It belongs to the goroutine that handles the delivery.
type Settlement struct {
	Message broker.Delivery

	broker  Settler
	settled bool
}

// Settler settles deliveries.
type Settler interface {
	Ack(d broker.Delivery) error
	AckConfirmed(ctx context.Context, d broker.Delivery) error
	Nak(d broker.Delivery, delay time.Duration) error
	InProgress(d broker.Delivery) error
}

var errSettled = errors.New("the delivery is settled already")

// Settled tells whether the delivery is settled.
func (s *Settlement) Settled() bool { return s.settled }

// once allows one settlement.
func (s *Settlement) once(name string) error {
	if s.settled {
		return fmt.Errorf("%s of %s: %w", name, s.Message.Subject, errSettled)
	}
	s.settled = true
	return nil
}

// Ack lets the message go without waiting for the broker. Lost, the message is delivered again: the caller must be
// able to tell that it was settled.
func (s *Settlement) Ack() error {
	if err := s.once("ack"); err != nil {
		return err
	}
	return s.broker.Ack(s.Message)
}

// AckConfirmed lets the message go and waits until the broker has said so. An error means that nobody knows.
func (s *Settlement) AckConfirmed(ctx context.Context) error {
	if err := s.once("ack"); err != nil {
		return err
	}
	return s.broker.AckConfirmed(ctx, s.Message)
}

// NakAfter hands the message back until d has passed. The broker takes a delay of 0 or less for now.
func (s *Settlement) NakAfter(d time.Duration) error {
	if err := s.once("nak"); err != nil {
		return err
	}
	return s.broker.Nak(s.Message, d)
}

// HandBack hands the message back for anyone to take at once.
func (s *Settlement) HandBack() error { return s.NakAfter(0) }

// InProgress starts the broker's AckWait anew. It settles nothing.
func (s *Settlement) InProgress() error {
	if s.settled {
		return fmt.Errorf("in-progress of %s: %w", s.Message.Subject, errSettled)
	}
	return s.broker.InProgress(s.Message)
}
