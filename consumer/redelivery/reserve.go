package redelivery

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"statusworker/consumer/clock"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/lifecycle"
)

const (
	// refusedFor is how long a refused reservation is retried, and refusedEvery how often.
	refusedFor   = time.Second
	refusedEvery = 20 * time.Millisecond
	// ackTimeout is how long a request waits for the broker's answer: much less than AckWait.
	ackTimeout = 4 * time.Second
	// MaxReserve is how long a reservation may take with retries: AckWait must be longer.
	MaxReserve = refusedFor + ackTimeout
	// MaxSlack and minSlack limit the slack. Half of it covers changes of the broker's clock that are too small for a
	// step.
	MaxSlack = time.Second
	minSlack = 2 * clock.MinStep
)

// Reservations is redelivery by reservations, which are schedules on the broker: the default mode.
type Reservations struct {
	cfg     Config
	stored  stored
	lag     atomic.Int64 // in nanoseconds, see took
	refused atomic.Uint64
}

// NewReservations makes redelivery by reservations.
func NewReservations(cfg Config) *Reservations {
	return &Reservations{cfg: cfg, stored: stored{Config: cfg, reservations: true}}
}

// Refused is the number of refused reservations, including those that were stored at a retry.
func (r *Reservations) Refused() uint64 { return r.refused.Load() }

// reservation is a stored reservation of the next poll.
type reservation struct {
	lifecycle.Reserved
	// refusals are those of the polls before it.
	refusals schema.Refusals
}

// newReservation makes the reservation of a poll.
func newReservation(generation time.Time, number uint64) reservation {
	return reservation{Reserved: lifecycle.Reserved{
		Position: lifecycle.Position{Generation: generation, Number: number},
	}}
}

// errReserved means that a reservation was refused until the last retry, although no later one is stored.
var errReserved = errors.New(
	"the broker refused the reservation for " + schema.Duration(refusedFor) + ", although it has no later one")

// slack is the least time by which a reservation waits longer than the interval. One half is for the broker, which must
// store it before the request is sent. The other half is for the way to the vendor, which may be slower for one poll
// than for the next one.
func slack(interval time.Duration) time.Duration {
	return min(MaxSlack, max(interval/5, minSlack))
}

// due is when a poll that is reserved now falls due, by the broker's clock: after wait (the interval, or more), the
// slack, a jitter, and the time that the broker recently took to store a reservation. So a slow broker makes polls
// rarer, but not impossible.
func (r *Reservations) due(interval, wait time.Duration) time.Time {
	return r.cfg.Clock.Now().Add(wait + slack(interval) + r.cfg.jitter(interval) + time.Duration(r.lag.Load()))
}

// wait is the least time until the next poll of a delivery's interaction.
func (r *Reservations) wait(d *Delivery) time.Duration {
	return Wait(d.Interval, r.cfg.Clock.Now().Sub(d.At.Generation), r.cfg.Stretch, r.cfg.StretchLimit)
}

// took records how long the broker took to store a reservation. It keeps the longest recent time, which shrinks by an
// eighth with every faster one.
func (r *Reservations) took(d time.Duration) {
	known := time.Duration(r.lag.Load())
	r.lag.Store(int64(max(d, known-known/8)))
}

// Begin reads the message and reserves the next poll. Only the worker that gets the reservation may make this poll.
func (r *Reservations) Begin(ctx context.Context, d *Delivery) (Verdict, error) {
	if err := r.read(d); err != nil {
		return "", err
	}
	if d.tombstone {
		return Drop, d.Ack()
	}
	if err := r.sureOfTime(ctx); err != nil {
		return "", err // the message is redelivered after AckWait
	}
	if wait := r.cfg.Clock.Early(d.wanted, d.Due, d.Interval); wait > 0 {
		return Early, d.NakAfter(wait)
	}
	// It has no refusals: if the worker cannot store the result of this poll, their count begins again.
	next := newReservation(d.At.Generation, d.At.Number+1)
	taken, err := r.take(ctx, d, &next)
	if err != nil {
		return "", err
	}
	if err := d.Ack(); err != nil {
		return "", err // the reservation is stored: the redelivered message will be dropped
	}
	if taken {
		return Drop, nil
	}
	d.reserved, d.firstDue = next, next.Due
	due := r.cfg.Clock.Local(next.Due)
	d.SendBy = due.Add(-d.Interval - slack(d.Interval)/2)
	d.Until = later(r.cfg.Now(), due.Add(d.Interval-r.wait(d)))
	return Poll, nil
}

// sureOfTime measures the broker's clock if it is doubtful, before a reservation depends on it.
func (r *Reservations) sureOfTime(ctx context.Context) error {
	if !r.cfg.Clock.Doubtful() {
		return nil
	}
	measure, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	return r.cfg.Clock.Sure(measure)
}

// take stores the reservation, unless a later one is pending: then another worker has taken the next poll. The error
// is errReserved, or the broker's.
func (r *Reservations) take(ctx context.Context, d *Delivery, next *reservation) (taken bool, err error) {
	for giveUp := r.cfg.Now().Add(refusedFor); ; {
		next.Due = r.due(d.Interval, r.wait(d))
		err := r.put(ctx, d, next, 0, schema.HoldSubjects(d.Identifier))
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, broker.ErrRefused) {
			return false, err
		}
		r.refused.Add(1)
		pending, err := r.stored.reservation(ctx, d.Identifier)
		if err != nil {
			return false, err
		}
		if (lifecycle.Snapshot{Reservation: pending}).Taken(d.At) {
			return true, nil
		}
		if err := r.waitToRetry(ctx, giveUp); err != nil {
			return false, fmt.Errorf("reserving the next poll of %s: %w", d.Identifier, err)
		}
	}
}

// waitToRetry waits before a refused reservation is retried. The error is errReserved after giveUp, or that of ctx.
func (r *Reservations) waitToRetry(ctx context.Context, giveUp time.Time) error {
	if !r.cfg.Now().Before(giveUp) {
		return errReserved
	}
	select {
	case <-time.After(refusedEvery):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// put stores a reservation on the condition that the last message on the subjects among has the expected sequence; 0
// means that there is none. A refusal is a [broker.ErrRefused].
func (r *Reservations) put(ctx context.Context, d *Delivery, next *reservation, expected uint64, among string) error {
	// This runs at every poll. One array has the values of all headers, a map of 8 needs one allocation, and values
	// that do not change from poll to poll are not formatted again.
	h, values := make(broker.Header, 8), make([]string, 0, 10)
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	set(schema.HeaderDue, next.Due.UTC().Format(time.RFC3339Nano))
	set(schema.HeaderPoll, strconv.FormatUint(next.Number, 10))
	if before := d.reservation; before != nil {
		for _, name := range []string{schema.HeaderGeneration, schema.HeaderSequence, schema.HeaderDeliveries} {
			h[name] = before[name]
		}
	} else {
		set(schema.HeaderGeneration, next.Generation.UTC().Format(time.RFC3339Nano))
		set(schema.HeaderSequence, strconv.FormatUint(d.Origin.Sequence, 10))
		set(schema.HeaderDeliveries, strconv.FormatUint(d.Origin.Deliveries, 10))
	}
	if d.Status != "" {
		set(schema.HeaderStatus, string(d.Status))
	}
	if next.refusals.Count > 0 {
		set(schema.HeaderRefusals, next.refusals.String())
	}
	if d.Panics > 0 {
		set(schema.HeaderPanics, strconv.Itoa(d.Panics))
	}
	if d.Origin.Traceparent != "" {
		set(schema.HeaderTraceparent, d.Origin.Traceparent)
	}
	p := broker.Publication{
		Subject: schema.HoldSubject(d.Type, d.Identifier), Header: h, Data: d.Message.Data,
		If:       broker.Condition{Subjects: among, Last: expected},
		Schedule: broker.Schedule{At: next.Due, Target: schema.PollSubject(d.Type, d.Identifier)},
	}
	if next.Tombstone {
		set(schema.HeaderTombstone, "true")
		p.Data = nil
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	asked := r.cfg.Now()
	ack, err := r.cfg.Broker.Publish(ctx, p)
	if err == nil || errors.Is(err, broker.ErrRefused) {
		r.took(r.cfg.Now().Sub(asked))
	}
	if err != nil {
		return fmt.Errorf("reserving the next poll of %s: %w", d.Identifier, err)
	}
	next.Sequence = ack.Sequence
	return nil
}

// read reads the interaction of a due message, and its position. A message without our headers, which no worker
// reserved, is treated like a declared one, as its poll 0. The error is a [*schema.MemberError].
func (r *Reservations) read(d *Delivery) error {
	r.cfg.Clock.Notice(d.Origin.Stored)
	_, d.Identifier, _ = schema.SplitSubject(d.Message.Subject)
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
	d.At, d.reservation, d.tombstone = at, h, lifecycle.IsTombstone(h)
	d.Due = d.Origin.Stored // when the broker published it
	d.Status = schema.Status(h.Get(schema.HeaderStatus))
	d.Refusals = schema.ParseRefusals(h.Get(schema.HeaderRefusals))
	// An invalid value counts as none.
	d.wanted, _ = time.Parse(time.RFC3339Nano, h.Get(schema.HeaderDue))
	d.Panics = panicsIn(h)
	d.Origin.Stream, d.Origin.Subject = schema.StreamDeclared, schema.DeclaredSubject(d.Type, d.Identifier)
	d.Origin.Stored, d.Origin.Polls = at.Generation, at.Number
	// An invalid value is 0: these two are only shown.
	d.Origin.Sequence, _ = strconv.ParseUint(h.Get(schema.HeaderSequence), 10, 64)
	d.Origin.Deliveries, _ = strconv.ParseUint(h.Get(schema.HeaderDeliveries), 10, 64)
	return nil
}
