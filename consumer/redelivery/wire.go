package redelivery

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

// put stores a reservation on a condition. A rejection is a [broker.ErrRejected].
func (r *Reservations) put(ctx context.Context, d *Delivery, next *reservation, on broker.Condition) error {
	// This runs at every poll. One array has the values of all headers, a map of 8 needs one allocation, and values
	// that do not change from poll to poll are not formatted again.
	h, values := make(broker.Header, 8), make([]string, 0, 12)
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	due := r.cfg.Clock.Due(next.at)
	next.Due = due.At
	if next.again {
		h[schema.HeaderDue] = d.dueHeader[schema.HeaderDue]
	} else {
		set(schema.HeaderDue, writeDue(due))
	}
	set(schema.HeaderPoll, strconv.FormatUint(next.Number, 10))
	if before := d.dueHeader; before != nil {
		h[schema.HeaderGeneration] = before[schema.HeaderGeneration]
	} else {
		set(schema.HeaderGeneration, fmt.Sprintf("%s %d %d", next.Generation.UTC().Format(time.RFC3339Nano),
			d.Origin.Sequence, d.Origin.Deliveries))
	}
	if len(d.history) > 0 {
		h[schema.HeaderHistory] = d.history
	}
	if next.refusals.Count > 0 {
		set(schema.HeaderRefusals, next.refusals.String())
	}
	if d.Panics > 0 {
		set(schema.HeaderPanics, strconv.Itoa(d.Panics))
	}
	if !d.Origin.Replays.IsZero() {
		set(schema.HeaderReplays, d.Origin.Replays.UTC().Format(time.RFC3339Nano))
	}
	if d.Origin.Traceparent != "" {
		set(schema.HeaderTraceparent, d.Origin.Traceparent)
	}
	p := broker.Publication{
		Subject: r.cfg.Namespace.HoldSubject(d.Type, d.Identifier), Header: h, Data: d.Message.Data,
		If:       on,
		Schedule: broker.Schedule{At: next.Due, Target: r.cfg.Namespace.PollSubject(d.Type, d.Identifier)},
	}
	if next.Tombstone {
		set(schema.HeaderTombstone, "true")
		p.Data = nil
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	ack, err := r.cfg.Broker.Publish(ctx, p)
	if err != nil {
		return fmt.Errorf("reserving the next poll of %s: %w", d.Identifier, err)
	}
	next.Sequence = ack.Sequence
	return nil
}

// writeDue is the value of [schema.HeaderDue]. The milliseconds are rounded up: a reservation never seems younger than
// it is.
func writeDue(due clock.Due) string {
	text := due.At.UTC().AppendFormat(make([]byte, 0, 64), time.RFC3339Nano)
	text = strconv.AppendInt(append(text, ' '), int64((due.At.Sub(due.Made)+time.Millisecond-1)/time.Millisecond), 10)
	if due.Leader != "" {
		text = append(append(text, ' '), due.Leader...)
	}
	return string(text)
}

// readDue reads when a poll was to fall due, and by which clock. What is missing or invalid is unknown.
func readDue(h broker.Header) clock.Due {
	text, made, _ := strings.Cut(h.Get(schema.HeaderDue), " ")
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return clock.Due{}
	}
	before, leader, _ := strings.Cut(made, " ")
	ms, err := strconv.ParseInt(before, 10, 64)
	if err != nil || ms < 0 || ms > int64(maxBefore/time.Millisecond) {
		return clock.Due{At: at}
	}
	return clock.Due{At: at, Made: at.Add(-time.Duration(ms) * time.Millisecond), Leader: leader}
}

// maxBefore limits the time in [schema.HeaderDue], so that it cannot overflow.
const maxBefore = 100 * 365 * 24 * time.Hour

// read reads the interaction of a due message, and its position. A message without these headers was not stored by a
// worker. It is treated like a declared message, at position 0. The error is a [*schema.MemberError].
func (r *Reservations) read(d *Delivery) error {
	r.cfg.Clock.Notice(d.Origin.Stored)
	_, d.Identifier, _ = r.cfg.Namespace.SplitSubject(d.Message.Subject)
	if err := schema.CheckIdentifier(d.Identifier); err != nil {
		return &schema.MemberError{Problem: "the subject has no valid identifier: " + err.Error()}
	}
	h := d.Message.Header
	at, err := lifecycle.ReadPosition(h)
	if err != nil {
		if _, err := d.Declared(); err != nil {
			return err
		}
		return nil
	}
	d.At, d.dueHeader, d.tombstone = at, h, lifecycle.IsTombstone(h)
	d.Due = d.Origin.Stored // when the broker published it
	d.history = schema.BoundedHistory(h[schema.HeaderHistory])
	d.Refusals = schema.ParseRefusals(h.Get(schema.HeaderRefusals))
	d.wanted = readDue(h)
	d.Panics = panicsIn(h)
	d.Origin.Stream = r.declared
	d.Origin.Subject = r.cfg.Namespace.DeclaredSubject(d.Type, d.Identifier)
	d.Origin.Stored, d.Origin.Polls = at.Generation, at.Number
	// An invalid value is 0: these two are only shown.
	_, declared, _ := strings.Cut(h.Get(schema.HeaderGeneration), " ")
	sequence, deliveries, _ := strings.Cut(declared, " ")
	d.Origin.Sequence, _ = strconv.ParseUint(sequence, 10, 64)
	d.Origin.Deliveries, _ = strconv.ParseUint(deliveries, 10, 64)
	return nil
}
