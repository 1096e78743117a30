package redelivery

import (
	"strconv"
	"time"

	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// Delivery is one message that is due, from its receipt until it is settled.
type Delivery struct {
	Settlement
	// Type is the interaction's, and Interval the least time between two of its polls. Whoever receives the message
	// sets both.
	Type     schema.Type
	Interval time.Duration
	// Asked is when this process asked for the message: the broker has not delivered it before.
	Asked time.Time

	Identifier string
	// At is where the interaction is: which generation, and which poll this delivery stands for.
	At lifecycle.Position
	// Origin is where its declared message was stored.
	Origin schema.Origin
	// Status is the last one known before this poll, and Refusals are those of the polls before it; after this poll,
	// with it.
	Status   schema.Status
	Refusals schema.Refusals
	// Panics is how many deliveries in a row made their worker panic.
	Panics int
	// SendBy is when the request must have left, Until is how long publishing the outcome may take; by this process's
	// clock.
	SendBy, Until time.Time
	// Due is when this poll fell due, by the broker's clock, or zero where nobody knows.
	Due time.Time

	// reservation is the header of the reservation that has become this message; nil where it was none. Tombstone says
	// that it marks the end of its generation.
	reservation broker.Header
	tombstone   bool
	// wanted is when the worker that reserved this poll wanted it to fall due, by the broker's clock as it was then.
	wanted time.Time
	// reserved is the next poll, and firstDue when it falls due where the request does not take too long.
	reserved reservation
	firstDue time.Time
}

// Receive makes the delivery of a message that was asked for at a time. Where the message was stored is its origin
// until more is known.
func Receive(b Settler, m broker.Delivery, asked time.Time) Delivery {
	return Delivery{
		Settlement: Settlement{broker: b, Message: m}, Asked: asked, At: lifecycle.Position{Generation: m.Time},
		Origin: schema.Origin{
			Stream: m.Stream, Subject: m.Subject, Sequence: m.Sequence, Deliveries: m.Count, Stored: m.Time,
			Traceparent: schema.Traceparent(m.Header),
		},
	}
}

// Declared decodes the declared message. The error is a [*schema.MemberError].
func (d *Delivery) Declared() (schema.Declared, error) {
	return schema.DecodeFrom(d.Message.Subject, d.Message.Data)
}

// Reserved tells whether the next poll is reserved.
func (d *Delivery) Reserved() bool { return d.reserved.Sequence != 0 }

// declared is the message as package lifecycle judges it.
func (d *Delivery) declared() lifecycle.Declared {
	return lifecycle.Declared{
		Subject: d.Message.Subject, Stored: d.At.Generation, Replays: lifecycle.ReadReplays(d.Message.Header),
	}
}

// MaxPanics is up to how many panics in a row are counted. At so many, an interaction must have ended.
const MaxPanics = 3

// panicsIn is how often the polls before made their worker panic, by the headers of a due message.
func panicsIn(h broker.Header) int {
	text := h.Get(schema.HeaderPanics)
	if text == "" { // as nearly always
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return min(max(n, 0), MaxPanics)
}
