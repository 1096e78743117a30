package consumer

import (
	"context"
	"errors"
	"strings"
	"time"

	"statusworker/schema"
)

// delivery is one message that is due, from its receipt until it is settled.
type delivery struct {
	settlement
	lane  *lane
	asked time.Time // see job
	probe bool

	identifier string
	// at is where the interaction is: which life, and which poll this delivery stands for.
	at position
	// origin is where its declared message was stored.
	origin schema.Origin
	// status is the last one known before this poll.
	status schema.Status
	// sendBy is when the request must have left, until is how long publishing the outcome may take; by this process's
	// clock.
	sendBy, until time.Time
	// reserved is the next poll.
	reserved reservation
	// due is when this poll fell due, by the broker's clock, or zero where nobody knows.
	due time.Time
}

var errTooLate = errors.New("the broker took so long to store the next reservation that this poll could no longer be made in time; the interaction is polled then")

// position orders the polls of an interaction: by life, then by number.
type position struct {
	life   time.Time
	number uint64
}

// after tells whether p is a later poll than o.
func (p position) after(o position) bool {
	if !p.life.Equal(o.life) {
		return p.life.After(o.life)
	}
	return p.number > o.number
}

// deliver lives the life of one delivery: begin, poll, decide, settle.
func (w *Worker) deliver(ctx context.Context, d *delivery) (err error) {
	ctx, spans := w.trace(ctx, d)
	defer func() { spans.end(err) }()
	may, err := w.hold.begin(ctx, d)
	if err != nil {
		if bad := (*schema.MemberError)(nil); errors.As(err, &bad) {
			return w.refuse(ctx, d, bad)
		}
		return err
	}
	if !may {
		w.count.dropped.Add(1)
		return nil
	}
	if tooLate := passed(d.sendBy, w.cfg.Now()) >= 0; tooLate || !d.probe && !w.rest.mayPoll() {
		w.count.skipped.Add(1)
		if tooLate && d.reserved.sequence != 0 {
			w.complain("a slow broker", errTooLate)
		}
		return w.hold.holdBack(ctx, d, w.rest.over())
	}

	facts := Facts{NotFoundGrace: w.cfg.NotFoundGrace, Deadline: w.cfg.Deadline}
	late := time.Duration(-1)
	if !d.due.IsZero() {
		late = max(0, w.clock.time().Sub(d.due))
	}
	began := w.cfg.Now()
	polling, polled := spans.poll(ctx, d)
	answer, err := w.ask(polling, d)
	took := w.cfg.Now().Sub(began)
	facts.Age = w.clock.time().Sub(d.at.life)
	facts.Status, facts.ErrorMessage = answer.Status, answer.ErrorMessage
	renewed := false
	if err != nil {
		facts.Fault, facts.FaultDetail = schema.FaultUnavailable, err.Error()
		if poll := (*schema.PollError)(nil); errors.As(err, &poll) {
			facts.Fault, facts.RetryAt, renewed = poll.Fault, poll.RetryAt, poll.TokenRenewed
		}
	}
	polled(facts)
	decision := Decide(facts)
	spans.decided(decision)
	if facts.Fault == schema.FaultNotSent {
		w.count.skipped.Add(1)
	} else {
		w.count.polls.Add(1)
		w.oldest.note(d.lane.typ, facts.Age)
		w.cfg.Observer.Polled(d.lane.typ, facts.Result(), took, late)
		if ctx.Err() == nil { // a poll that was cut off by a shutdown says nothing about the vendor
			w.rest.report(d.lane.index, decision.Trouble, facts.RetryAt, d.probe, facts.FaultDetail)
			if renewed {
				w.rest.cut(Unauthorized)
			}
		}
	}
	if decision.Unlisted {
		w.count.unlistedCount.Add(1)
		if w.unlisted.first(facts.Status) {
			w.log.WithField("status", schema.Quote(string(facts.Status))).Warn("the vendor gave a status that its documentation does not know; it counts as pending")
		}
	}
	if facts.Fault == "" {
		d.status = schema.Status(strings.TrimSpace(string(facts.Status))) // as a header gives it back
	}

	if decision.Action == HoldBack {
		w.count.heldBack.Add(1)
		// Not before the rest is over, if one has begun: it would only be found due, and wait.
		return w.hold.holdBack(ctx, d, later(decision.NotBefore, w.rest.over()))
	}
	return w.conclude(ctx, d, decision, answer)
}

// ask makes the status request.
func (w *Worker) ask(ctx context.Context, d *delivery) (schema.Answer, error) {
	d.lane.polling.Add(1)
	defer d.lane.polling.Add(-1)
	return w.status.Status(ctx, d.identifier, d.sendBy)
}

// conclude publishes the outcome, waits for the broker's word that it is stored, and only then lets the interaction go.
func (w *Worker) conclude(ctx context.Context, d *delivery, decision Decision, answer schema.Answer) error {
	declared, err := w.hold.declaration(d)
	if err != nil {
		if bad := (*schema.MemberError)(nil); errors.As(err, &bad) {
			return w.refuse(ctx, d, bad)
		}
		return err
	}
	o := schema.Outcome{
		Identifier: d.identifier, Type: d.lane.typ, Answer: answer.Raw, Declaration: declared.Declaration,
		Observed: w.clock.time(), Origin: d.origin,
	}
	if o.Origin.Traceparent == "" {
		o.Origin.Traceparent = declared.Traceparent
	}
	destinations := Destinations(d.lane.typ, declared.IncludeAIResults)
	var outcomes []schema.Outcome
	if decision.Action == Bury {
		o.Reason, o.Detail, o.Success = decision.Reason, decision.Detail, destinations
		outcomes = append(outcomes, o)
	} else {
		for _, to := range destinations {
			o.Destination = to
			outcomes = append(outcomes, o)
		}
	}
	if err := w.publish(ctx, d, outcomes...); err != nil {
		return err
	}
	w.cfg.Observer.Ended(d.lane.typ, w.clock.time().Sub(d.at.life))
	return w.hold.finish(ctx, d)
}

const (
	// publishLeast is how long publishing may take at least: a vendor that answers later than the next poll falls due has
	// answered all the same. Publishing is idempotent, so nothing happens twice where the delivery's time is over.
	publishLeast = 5 * time.Second
	// publishMost is how long it may take where the next poll is far away: a slot is for work. What was not stored is
	// stored after the next poll.
	publishMost = 30 * time.Second
)

// publish stores the outcomes while the delivery's time allows. Where that fails, the interaction is held back.
func (w *Worker) publish(ctx context.Context, d *delivery, outcomes ...schema.Outcome) error {
	bounded, cancel := context.WithTimeout(ctx, min(max(publishLeast, d.until.Sub(w.cfg.Now())), publishMost))
	defer cancel()
	if err := w.outcomes.Publish(bounded, outcomes...); err != nil {
		return errors.Join(err, w.hold.holdBack(ctx, d, time.Time{}))
	}
	return nil
}

// refuse dead-letters a message that is no declared message.
func (w *Worker) refuse(ctx context.Context, d *delivery, bad *schema.MemberError) error {
	if err := w.publish(ctx, d, invalid(d, w.clock.time(), bad)); err != nil {
		return err
	}
	return w.hold.finish(ctx, d)
}

// invalid is the dead letter of a message that is no declared message.
func invalid(d *delivery, now time.Time, bad *schema.MemberError) schema.Outcome {
	kind, _, _ := schema.SplitSubject(d.msg.Subject())
	o := schema.Outcome{
		Identifier: schema.DeadLetterToken(d.msg.Subject(), d.origin.Sequence),
		Reason:     schema.InvalidMessage, Detail: bad.Error(), Observed: now, Origin: d.origin,
	}
	if t := schema.Type(kind); t.Valid() {
		o.Type = t
	}
	if schema.CheckJSON(d.msg.Data()) == nil {
		o.Declaration = d.msg.Data()
	} else {
		o.Payload = d.msg.Data()
	}
	return o
}

// originOf reads where a message was stored from the message itself.
func originOf(d *delivery) error {
	meta, err := d.msg.Metadata()
	if err != nil {
		return err
	}
	d.origin = schema.Origin{
		Stream: meta.Stream, Subject: d.msg.Subject(), Sequence: meta.Sequence.Stream, Deliveries: meta.NumDelivered,
		Stored: meta.Timestamp, Traceparent: traceparent(d),
	}
	d.at = position{life: meta.Timestamp}
	return nil
}

func traceparent(d *delivery) string {
	// Not Get: NATS headers are case-sensitive, and it would only look at one spelling anyway.
	if v := d.msg.Headers()[schema.HeaderTraceparent]; len(v) > 0 {
		return schema.TraceContext(v[0])
	}
	return ""
}
