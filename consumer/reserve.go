package consumer

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
	// A refusal proves nothing until what is pending was read: it is tried again for so long, so often.
	refusedFor   = time.Second
	refusedEvery = 20 * time.Millisecond
	// ackTimeout is how long one reservation waits for the broker's ack: well within AckWait.
	ackTimeout = 4 * time.Second
	// The bounds of slack. Half of it is for steps of the broker's clock that are none.
	maxSlack = time.Second
	minSlack = 2 * clock.MinStep
	// jitterShare spreads reservations over this share of the guidance.
	jitterShare = 0.05
)

// reservations hold interactions back by a schedule on the broker: the default.
type reservations struct {
	broker Broker
	stored *stored
	clock  *clock.Clock
	cfg    Config
	count  *counters
	lag    atomic.Int64 // in nanoseconds, see took
}

// reservation is a next poll that the broker has stored.
type reservation struct {
	lifecycle.Reserved
	// refusals are those of the polls before it.
	refusals schema.Refusals
}

// errReserved says that a reservation was refused, that nobody was seen to hold the next poll, and that time is up.
var errReserved = errors.New("the broker refuses the next reservation, but shows no later one; the message is left for redelivery")

// slack is how much longer than the guidance a reservation waits at least. One half is for the broker, which has to store
// it before the poll may leave; the other is for the way to the vendor, which one poll may make slowly and the next one
// quickly.
func slack(interval time.Duration) time.Duration {
	return min(maxSlack, max(interval/5, minSlack))
}

// due is when a poll that is reserved now shall fall due, by the broker's clock: after wait (the guidance, or more), the
// slack, a jitter, and the time that the broker lately took to store a reservation. A slow broker makes polls rarer, but
// not impossible.
func (r *reservations) due(interval, wait time.Duration) time.Time {
	jitter := time.Duration(r.cfg.Jitter() * jitterShare * float64(interval))
	return r.clock.Now().Add(wait + slack(interval) + jitter + time.Duration(r.lag.Load()))
}

// wait is how long the interaction of a delivery is held back at least.
func (r *reservations) wait(d *delivery) time.Duration {
	return Wait(d.lane.interval, r.clock.Now().Sub(d.at.Generation), r.cfg.Stretch, r.cfg.StretchLimit)
}

// took notes how long the broker took to store a reservation. What is known is the longest time lately: it fades by an
// eighth with every quicker one.
func (r *reservations) took(d time.Duration) {
	known := time.Duration(r.lag.Load())
	r.lag.Store(int64(max(d, known-known/8)))
}

// begin reads the message and reserves the next poll. Only who gets the reservation may make this poll.
func (r *reservations) begin(ctx context.Context, d *delivery) (bool, error) {
	if err := r.read(d); err != nil {
		return false, err
	}
	if d.reserved.Tombstone {
		return false, d.ack()
	}
	if err := r.sureOfTime(ctx); err != nil {
		return false, err // AckWait brings the message back
	}
	if wait := r.clock.Early(d.wanted, d.due, d.lane.interval); wait > 0 {
		d.early = true
		return false, d.nakAfter(wait)
	}
	// It says nothing of refusals: should the worker not come to say what became of this poll, they are counted anew.
	next := reservation{Reserved: lifecycle.Reserved{Position: lifecycle.Position{Generation: d.at.Generation, Number: d.at.Number + 1}}}
	taken, err := r.take(ctx, d, &next)
	if err != nil {
		return false, err
	}
	if err := d.ack(); err != nil {
		return false, err // the reservation stands, and the redelivery will be refused
	}
	if taken {
		return false, nil
	}
	d.reserved, d.firstDue = next, next.Due
	due := r.clock.Local(next.Due)
	d.sendBy = due.Add(-d.lane.interval - slack(d.lane.interval)/2)
	d.until = later(r.cfg.Now(), due.Add(d.lane.interval-r.wait(d)))
	return true, nil
}

// sureOfTime makes sure of the broker's time, before anything is reserved by it.
func (r *reservations) sureOfTime(ctx context.Context) error {
	if !r.clock.Doubtful() {
		return nil
	}
	measure, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	return r.clock.Sure(measure)
}

// take stores the reservation, unless a later one is pending: then somebody else has taken the next poll. The error is
// errReserved, or the broker's.
func (r *reservations) take(ctx context.Context, d *delivery, next *reservation) (taken bool, err error) {
	for giveUp := r.cfg.Now().Add(refusedFor); ; {
		next.Due = r.due(d.lane.interval, r.wait(d))
		err := r.put(ctx, d, next, 0, schema.HoldSubjects(d.identifier))
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, broker.ErrRefused) {
			return false, err
		}
		r.count.refused.Add(1)
		pending, err := r.stored.reservation(ctx, d.identifier)
		if err != nil {
			return false, err
		}
		if (lifecycle.Snapshot{Reservation: pending}).Taken(d.at) {
			return true, nil
		}
		if !r.cfg.Now().Before(giveUp) {
			return false, fmt.Errorf("reserving the next poll of %s: %w", d.identifier, errReserved)
		}
		select {
		case <-time.After(refusedEvery):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// put stores a reservation in the place of the one with the expected sequence, which must be the last message on the
// subjects among; 0 means that there must be none. A refusal is a [broker.ErrRefused].
func (r *reservations) put(ctx context.Context, d *delivery, next *reservation, expected uint64, among string) error {
	// At every poll: one array holds the values of all headers, a map of 8 has no tables of its own, and what does not
	// change from poll to poll is not written anew.
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
		set(schema.HeaderSequence, strconv.FormatUint(d.origin.Sequence, 10))
		set(schema.HeaderDeliveries, strconv.FormatUint(d.origin.Deliveries, 10))
	}
	if d.status != "" {
		set(schema.HeaderStatus, string(d.status))
	}
	if next.refusals.Count > 0 {
		set(schema.HeaderRefusals, next.refusals.String())
	}
	if d.panics > 0 {
		set(schema.HeaderPanics, strconv.Itoa(d.panics))
	}
	if d.origin.Traceparent != "" {
		set(schema.HeaderTraceparent, d.origin.Traceparent)
	}
	p := broker.Publication{
		Subject: schema.HoldSubject(d.lane.typ, d.identifier), Header: h, Data: d.msg.Data,
		If:       broker.Condition{Subjects: among, Last: expected},
		Schedule: broker.Schedule{At: next.Due, Target: schema.PollSubject(d.lane.typ, d.identifier)},
	}
	if next.Tombstone {
		set(schema.HeaderTombstone, "true")
		p.Data = nil
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	asked := r.cfg.Now()
	ack, err := r.broker.Publish(ctx, p)
	if err == nil || errors.Is(err, broker.ErrRefused) {
		r.took(r.cfg.Now().Sub(asked))
	}
	if err != nil {
		return fmt.Errorf("reserving the next poll of %s: %w", d.identifier, err)
	}
	next.Sequence = ack.Sequence
	return nil
}

// read finds out which interaction a due message belongs to, and where it is. A message that no worker reserved (no
// headers of ours) is treated like a declared one, as its poll 0. The error is a [*schema.MemberError].
func (r *reservations) read(d *delivery) error {
	originOf(d)
	r.clock.Notice(d.origin.Stored)
	_, d.identifier, _ = schema.SplitSubject(d.msg.Subject)
	if err := schema.CheckIdentifier(d.identifier); err != nil {
		return &schema.MemberError{Problem: "its subject is not one: " + err.Error()}
	}
	h := d.msg.Header
	at, err := lifecycle.ReadPosition(h)
	if err != nil {
		if _, err := schema.DecodeFrom(d.msg.Subject, d.msg.Data); err != nil {
			return err
		}
		return nil
	}
	d.at, d.reservation = at, h
	d.reserved.Tombstone = lifecycle.IsTombstone(d.msg.Header)
	d.due = d.origin.Stored // when the broker made it due; of a message that nobody reserved, when it was published
	d.status = schema.Status(h.Get(schema.HeaderStatus))
	d.refusals = schema.ParseRefusals(h.Get(schema.HeaderRefusals))
	// What does not parse is as if it were not there.
	d.wanted, _ = time.Parse(time.RFC3339Nano, h.Get(schema.HeaderDue))
	d.panics = panicsIn(h)
	d.origin.Stream, d.origin.Subject = schema.StreamDeclared, schema.DeclaredSubject(d.lane.typ, d.identifier)
	d.origin.Stored, d.origin.Polls = at.Generation, at.Number
	// What does not parse is 0: these two are only shown.
	d.origin.Sequence, _ = strconv.ParseUint(h.Get(schema.HeaderSequence), 10, 64)
	d.origin.Deliveries, _ = strconv.ParseUint(h.Get(schema.HeaderDeliveries), 10, 64)
	return nil
}

func (r *reservations) declaration(d *delivery) (schema.Declared, error) {
	return schema.DecodeFrom(d.msg.Subject, d.msg.Data)
}

// keepMargin is how much longer than a request may take the reservation is kept from falling due, where the request is still
// out when two thirds of the time before it are over.
const keepMargin = time.Second

// keep keeps the reservation from falling due while the request is out: there is never more than one of an interaction. A
// request that may outlast it has it replaced by a later one, a third of the time before it falls due; where the broker does
// not store that in time, the request is given up. The function that is returned ends this, and is called before anything
// else is done with the delivery.
func (r *reservations) keep(ctx context.Context, d *delivery) (request context.Context, let func()) {
	left := r.clock.Local(d.reserved.Due).Sub(r.cfg.Now())
	if left > r.cfg.RequestTimeout+keepMargin {
		return ctx, func() {}
	}
	request, giveUp := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(left*2/3, func() {
		defer close(ended)
		next := d.reserved
		next.Due = r.clock.Now().Add(r.cfg.RequestTimeout + keepMargin)
		bounded, cancel := context.WithTimeout(request, left/4) // before it falls due
		defer cancel()
		if r.put(bounded, d, &next, d.reserved.Sequence, schema.HoldSubjects(d.identifier)) != nil {
			giveUp()
			return
		}
		d.reserved = next
	})
	return request, func() {
		if !timer.Stop() {
			<-ended
		}
		giveUp()
	}
}

// redeliver leaves the reservation as it is, unless it must be later, or says something that is not true any more: then it is
// replaced, on the condition that it is still there. One that has fallen due meanwhile stays due. A reservation that keep
// has made later is made as soon again as it was, or as the broker can.
func (r *reservations) redeliver(ctx context.Context, d *delivery, notBefore time.Time) error {
	if d.reserved.Sequence == 0 {
		return nil // begin failed: AckWait brings the message back
	}
	next := d.reserved
	next.refusals = d.refusals
	if next.Due.After(d.firstDue) {
		next.Due = later(d.firstDue, r.clock.Now().Add(minSlack))
	}
	if !notBefore.IsZero() {
		if at := r.clock.At(notBefore); at.After(next.Due) {
			next.Due = at
		}
	}
	h := d.msg.Header // what begin has written again
	same := string(d.status) == h.Get(schema.HeaderStatus) && d.panics == panicsIn(h) && next.refusals.Equal(d.reserved.refusals)
	if same && next.Due.Equal(d.reserved.Due) {
		return nil
	}
	err := r.put(ctx, d, &next, d.reserved.Sequence, schema.HoldSubjects(d.identifier))
	if errors.Is(err, broker.ErrRefused) {
		return nil
	}
	return err
}

// finish replaces the reservation by a tombstone, which falls due one guidance later: until then, no stale copy of the
// last due message can make another poll. A reservation that has fallen due meanwhile leads to one more poll, and its
// outcome is found to be stored; the poll after that is replaced instead.
func (r *reservations) finish(ctx context.Context, d *delivery) error {
	if d.reserved.Sequence == 0 {
		bounded, cancel := context.WithTimeout(ctx, ackTimeout)
		defer cancel()
		return d.ackConfirmed(bounded) // an invalid message: it never had a reservation
	}
	tomb := reservation{Reserved: d.reserved.Reserved}
	tomb.Tombstone, tomb.Due = true, r.due(d.lane.interval, d.lane.interval)
	hold := schema.HoldSubjects(d.identifier)
	err := r.put(ctx, d, &tomb, d.reserved.Sequence, hold)
	if !errors.Is(err, broker.ErrRefused) {
		return err
	}
	// It fell due while the vendor took its time. Somebody may hold the poll after it already: it is not wanted either.
	pending, err := r.stored.reservation(ctx, d.identifier)
	if err != nil || pending == nil || !pending.EndedBy(d.at.Generation) {
		return err
	}
	tomb.Position = pending.Position
	if err := r.put(ctx, d, &tomb, pending.Sequence, hold); !errors.Is(err, broker.ErrRefused) {
		return err
	}
	return nil
}
