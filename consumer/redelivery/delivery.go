package redelivery

import (
	"strconv"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// Delivery is one delivery of a message, from its receipt until it is settled.
type Delivery struct {
	Settlement
	// Namespace is that of the worker.
	Namespace schema.Namespace
	// Type is the type of the interaction, and Interval its poll interval. The receiver of the message sets both.
	Type     schema.Type
	Interval time.Duration
	// Asked is when the pull was sent. The broker made this delivery at that time or later.
	Asked time.Time

	Identifier string
	// At is the position of the interaction: its generation, and the number of this poll.
	At lifecycle.Position
	// Origin is where the declared message was stored.
	Origin schema.Origin
	// Refusals are the consecutive refusals up to the previous poll; after the poll, up to this one.
	Refusals schema.Refusals
	// Panics is the number of deliveries in a row that made their worker panic.
	Panics int
	// SendBy is the latest time at which the request may be written. Until is when publishing the outcome should end.
	// Both are by this process's clock.
	SendBy, Until time.Time
	// Due is when this poll fell due, by the broker's clock; zero if that is unknown.
	Due time.Time

	// dueHeader is the header of the due message, or of the overdue reservation that is stored again; nil if no worker
	// stored the message. tombstone means that the message marks the end of its generation.
	dueHeader broker.Header
	tombstone bool
	// history are the values of [schema.HeaderHistory] up to the previous poll; after the poll, up to this one. They
	// are formatted only if the poll finds another status, and never modified.
	history []string
	// wanted is the due time that the worker asked for when it reserved this poll.
	wanted clock.Due
	// next is the stored reservation of the next poll; its sequence is 0 if there is none. nextBegun is when this
	// worker began to make it, and nextDue its due time before Keep postponed it, both by this process's clock.
	next               reservation
	nextBegun, nextDue time.Time
	// arrived is when the vendor has received the request at the latest, by this process's clock; zero if it was not
	// sent.
	arrived time.Time
}

// Receive makes the delivery of a message of a namespace that was pulled at a time. Its origin is the message itself
// until a header names another one.
func Receive(b Settler, n schema.Namespace, m broker.Delivery, asked time.Time) Delivery {
	return Delivery{
		Settlement: Settlement{broker: b, Message: m}, Namespace: n, Asked: asked,
		At: lifecycle.Position{Generation: m.Time},
		Origin: schema.Origin{
			Stream: m.Stream, Subject: m.Subject, Sequence: m.Sequence, Deliveries: m.Count, Stored: m.Time,
			Traceparent: schema.Traceparent(m.Header), Replays: lifecycle.ReadReplays(m.Header),
		},
	}
}

// Declared decodes the declared message. The error is a [*schema.MemberError].
func (d *Delivery) Declared() (schema.Declared, error) {
	return d.Namespace.DecodeFrom(d.Message.Subject, d.Message.Data)
}

// Saw records the status that a poll has got at a time of the broker's clock.
func (d *Delivery) Saw(status schema.Status, at time.Time) {
	d.history = schema.AddChange(d.history, schema.StatusChange{Status: status, At: at, Poll: d.At.Number})
}

// History are the changes of status so far, including that of the last poll. With delayed naks there is at most that
// one, because the broker stores no other.
func (d *Delivery) History() []schema.StatusChange { return schema.ReadHistory(d.history) }

// Reserved reports whether the next poll is reserved.
func (d *Delivery) Reserved() bool { return d.next.Sequence != 0 }

// hold records a stored reservation of the next poll.
func (d *Delivery) hold(next reservation) { d.next, d.nextDue = next, next.at }

// reservedAt is the condition that the reservation with this sequence is stored, or, with sequence 0, that no
// reservation is stored. The leader of a replicated stream keeps two publishes with the same filter from being in
// progress at the same time, and no others: with different filters, both could be stored. So all reservations that
// follow a due message have this one.
func (d *Delivery) reservedAt(sequence uint64) broker.Condition {
	return broker.Condition{Subjects: d.Namespace.HoldSubjects(d.Identifier), Last: sequence}
}

// vacant is the condition that no reservation is stored.
func (d *Delivery) vacant() broker.Condition { return d.reservedAt(0) }

// replacing is the condition that the reservation of the next poll is still stored.
func (d *Delivery) replacing() broker.Condition { return d.reservedAt(d.next.Sequence) }

// declared is the declared message for package lifecycle.
func (d *Delivery) declared() lifecycle.Declared {
	return lifecycle.Declared{
		Subject: d.Message.Subject, Stored: d.At.Generation, Replays: d.Origin.Replays,
	}
}

// MaxPanics is the number of panics in a row after which an interaction is dead-lettered.
const MaxPanics = 3

// panicsIn is the number of panics in a row in the headers of a due message.
func panicsIn(h broker.Header) int {
	text := h.Get(schema.HeaderPanics)
	if text == "" { // the usual case
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return min(max(n, 0), MaxPanics)
}
