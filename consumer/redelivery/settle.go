package redelivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statusworker/schema/broker"
)

// Settlement settles a delivery, and only once: a second settlement would apply to a newer delivery of the same
// message. It belongs to the goroutine that handles the delivery.
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

var errSettled = errors.New("the delivery is already settled")

// Settled reports whether the delivery is settled.
func (s *Settlement) Settled() bool { return s.settled }

// once allows one settlement.
func (s *Settlement) once(name string) error {
	if s.settled {
		return fmt.Errorf("%s of %s: %w", name, s.Message.Subject, errSettled)
	}
	s.settled = true
	return nil
}

// Ack acknowledges the message without waiting for the broker. If the ack is lost, the message is redelivered, and the
// caller must detect that it was handled.
func (s *Settlement) Ack() error {
	if err := s.once("ack"); err != nil {
		return err
	}
	return s.broker.Ack(s.Message)
}

// AckConfirmed acknowledges the message and waits for the broker's answer. After an error the result is unknown.
func (s *Settlement) AckConfirmed(ctx context.Context) error {
	if err := s.once("ack"); err != nil {
		return err
	}
	return s.broker.AckConfirmed(ctx, s.Message)
}

// NakAfter returns the message to the broker, to be redelivered after a delay; at once if it is 0 or less.
func (s *Settlement) NakAfter(d time.Duration) error {
	if err := s.once("nak"); err != nil {
		return err
	}
	return s.broker.Nak(s.Message, d)
}

// ReturnNow returns the message to the broker, to be redelivered at once.
func (s *Settlement) ReturnNow() error { return s.NakAfter(0) }

// InProgress restarts the broker's AckWait. It does not settle the delivery.
func (s *Settlement) InProgress() error {
	if s.settled {
		return fmt.Errorf("in-progress of %s: %w", s.Message.Subject, errSettled)
	}
	return s.broker.InProgress(s.Message)
}
