package consumer

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/consumer/breaker"
	"statusworker/consumer/clock"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/lifecycle"
)

// delivery is a delivery of a lane.
type delivery struct {
	redelivery.Delivery
	lane  *lane
	probe bool
}

var errTooLate = errors.New(
	"the broker took so long to store the next reservation that this poll could no longer be made in time; the interaction is polled then",
)

// deliver takes one delivery through its steps: begin, poll, decide, settle.
func (w *Worker) deliver(ctx context.Context, d *delivery) (err error) {
	ctx, spans := w.trace(ctx, d)
	defer func() { spans.end(err) }()
	verdict, err := w.redelivery.Begin(ctx, &d.Delivery)
	if err != nil {
		if bad := (*schema.MemberError)(nil); errors.As(err, &bad) {
			return w.refuse(ctx, d, bad)
		}
		return err
	}
	switch verdict {
	case redelivery.Poll:
	case redelivery.Early:
		w.count.skipped.Add(1)
		return nil
	default:
		w.count.dropped.Add(1)
		w.declaredBefore(d, lifecycle.TakeIn(verdict))
		return nil
	}
	tooLate := clock.Passed(d.SendBy, w.cfg.Now()) >= 0
	if tooLate || !w.mayPoll(d) {
		w.count.skipped.Add(1)
		if tooLate && d.Reserved() {
			w.complain("a slow broker", errTooLate)
		}
		return w.redeliver(ctx, d, time.Time{})
	}

	late := time.Duration(-1)
	if !d.Due.IsZero() {
		late = max(0, w.clock.Now().Sub(d.Due))
	}
	began := w.cfg.Now()
	polling, polled := spans.poll(ctx, d)
	answer, err := w.ask(polling, d)
	took := w.cfg.Now().Sub(began)
	facts, renewed := w.factsOf(d, answer, err)
	polled(facts)
	decision := Decide(facts)
	spans.decided(decision)
	if facts.Fault == schema.FaultNotSent {
		w.count.skipped.Add(1)
	} else {
		w.count.polls.Add(1)
		w.oldest.note(d.Type, facts.Age)
		w.cfg.Observer.Polled(d.Type, facts.Result(), took, late)
		// A poll that was cut off by a shutdown, given up here, or that failed because this process stood still says
		// nothing about the vendor.
		if ctx.Err() == nil && !errors.Is(err, context.Canceled) && !w.ownFailure(facts, began, took) {
			w.report(d, facts, decision)
			if renewed {
				w.breaker.Cut(breaker.Unauthorized)
			}
		}
	}
	if decision.Action == Redeliver { // of what could not be published, the row goes on
		d.Refusals = decision.Refusals
	}
	if decision.UnknownStatus {
		w.count.unknownStatusCount.Add(1)
		if w.unknownStatus.first(facts.Status) {
			fields := logrus.Fields{
				"status":      schema.Quote(string(facts.Status)),
				"interaction": d.Identifier,
				"type":        d.Type,
			}
			for _, named := range w.cfg.FailedStatuses {
				if strings.EqualFold(string(named), string(facts.Status)) {
					fields["differs_in_case_from"] = string(named)
				}
			}
			w.log.WithFields(fields).Warn("unknown status")
		}
	}
	if facts.Fault == "" {
		d.Status = schema.Status(strings.TrimSpace(string(facts.Status))) // as a header gives it back
	}

	if decision.Action == Redeliver {
		w.count.waits.Add(1)
		w.forgetPanics(d)
		return w.redeliver(ctx, d, decision.NotBefore)
	}
	return w.conclude(ctx, d, decision, answer)
}

// mayPoll tells whether a delivery may poll as far as the rest goes. A probe of an interaction that was polled before
// leaves its turn to those behind it: one of them may be new, and show that the vendor works.
func (w *Worker) mayPoll(d *delivery) bool {
	if d.probe {
		return d.Message.Pending == 0 || !w.breaker.PassesOver(d.Identifier, d.At.PolledBefore())
	}
	return w.breaker.MayPoll()
}

// maxDelay bounds for how long an interaction is held back because of a rest, or of the vendor's Retry-After. Both keep
// the worker from polling anyway, while what is held back keeps other workers, and those that are started later, from
// it.
const maxDelay = breaker.MaxPause

// redeliver ends a delivery after which the interaction waits. Until the rest is over it would only be found due, and
// wait. At its deadline it is due at the latest, or at its next poll: whichever worker polls then may give it up.
func (w *Worker) redeliver(ctx context.Context, d *delivery, notBefore time.Time) error {
	if over := w.breaker.Until(); over.After(notBefore) {
		notBefore = over
	}
	most := w.cfg.Now().Add(maxDelay)
	if deadline := w.clock.Local(d.At.Generation.Add(w.cfg.Deadline)); deadline.Before(most) {
		most = deadline
	}
	if notBefore.After(most) {
		notBefore = most
	}
	return w.redelivery.Redeliver(ctx, &d.Delivery, notBefore)
}

// factsOf is what is known after a poll. Renewed says that the vendor refused a token that is not in use any more.
func (w *Worker) factsOf(d *delivery, answer schema.Answer, err error) (facts Facts, renewed bool) {
	now := w.clock.Now()
	facts = Facts{
		Status:         answer.Status,
		ErrorMessage:   answer.ErrorMessage,
		Now:            now,
		Age:            now.Sub(d.At.Generation),
		Refusals:       d.Refusals,
		NotFoundGrace:  w.cfg.NotFoundGrace,
		Deadline:       w.cfg.Deadline,
		FailedStatuses: w.cfg.FailedStatuses,
	}
	if err != nil {
		facts.Fault, facts.FaultDetail = schema.FaultUnavailable, err.Error()
		if poll := (*schema.PollError)(nil); errors.As(err, &poll) {
			facts.Fault, facts.StatusCode, facts.RetryAt, renewed = poll.Fault, poll.StatusCode, poll.RetryAt, poll.TokenRenewed
		}
	}
	if facts.Fault.Refusal() {
		facts.Others = w.breaker.Others(d.Identifier, facts.StatusCode)
		facts.Others.Since = w.clock.At(facts.Others.Since)
		if !facts.Others.Succeeded.IsZero() {
			facts.Others.Succeeded = w.clock.At(facts.Others.Succeeded)
		}
	}
	return facts, renewed
}

// report says how a poll went.
func (w *Worker) report(d *delivery, f Facts, decision Decision) {
	r := breaker.Report{
		Lane:       d.lane.index,
		Identifier: d.Identifier,
		Probe:      d.probe,
		Failure:    breaker.FailureOf(f.Fault),
		RetryAt:    f.RetryAt,
		Detail:     f.FaultDetail,
	}
	if f.Fault.Refusal() {
		r.Refused, r.Ended = max(f.StatusCode, 1), decision.Action == DeadLetter
	}
	w.breaker.Report(r)
}

// ask makes the status request. While it is out, nobody else polls the interaction: it is given up where the next poll
// cannot be kept from falling due.
func (w *Worker) ask(ctx context.Context, d *delivery) (schema.Answer, error) {
	d.lane.polling.Add(1)
	defer d.lane.polling.Add(-1)
	ctx, let := w.redelivery.Keep(ctx, &d.Delivery)
	defer let()
	return w.status.Status(ctx, d.Identifier, d.SendBy)
}

// conclude publishes the outcome, waits for the broker's word that it is stored, and only then lets the interaction go.
func (w *Worker) conclude(ctx context.Context, d *delivery, decision Decision, answer schema.Answer) error {
	declared, err := d.Declared()
	if err != nil {
		if bad := (*schema.MemberError)(nil); errors.As(err, &bad) {
			return w.refuse(ctx, d, bad)
		}
		return err
	}
	o := schema.Outcome{
		Identifier:    d.Identifier,
		Type:          d.Type,
		Answer:        answer.Raw,
		AnswerPayload: answer.Payload,
		AnswerSize:    answer.Size,
		Declaration:   declared.Declaration,
		Observed:      w.clock.Now(),
		Origin:        d.Origin,
	}
	if o.Origin.Traceparent == "" {
		o.Origin.Traceparent = declared.Traceparent
	}
	destinations := declared.Destinations()
	var outcomes []schema.Outcome
	if decision.Action == DeadLetter {
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
	w.cfg.Observer.Ended(d.Type, w.clock.Now().Sub(d.At.Generation))
	return w.redelivery.Finish(ctx, &d.Delivery)
}

const (
	// minPublish is how long publishing may take at least: a vendor that answers later than the next poll falls due has
	// answered all the same. Publishing is idempotent, so nothing happens twice where the delivery's time is over.
	minPublish = 5 * time.Second
	// maxPublish is how long it may take where the next poll is far away: a slot is for work. What was not stored is
	// stored after the next poll.
	maxPublish = 30 * time.Second
)

// publish stores the outcomes while the delivery's time allows. Where that fails, the interaction is held back.
func (w *Worker) publish(ctx context.Context, d *delivery, outcomes ...schema.Outcome) error {
	bounded, cancel := context.WithTimeout(ctx, min(max(minPublish, d.Until.Sub(w.cfg.Now())), maxPublish))
	defer cancel()
	if err := w.outcomes.Publish(bounded, outcomes...); err != nil {
		return errors.Join(err, w.redeliver(ctx, d, time.Time{}))
	}
	return nil
}

// refuse dead-letters a message that is no declared message.
func (w *Worker) refuse(ctx context.Context, d *delivery, bad *schema.MemberError) error {
	if err := w.publish(ctx, d, invalid(d, w.clock.Now(), bad)); err != nil {
		return err
	}
	return w.redelivery.Finish(ctx, &d.Delivery)
}

// invalid is the dead letter of a message that is no declared message.
func invalid(d *delivery, now time.Time, bad *schema.MemberError) schema.Outcome {
	kind, _, _ := schema.SplitSubject(d.Message.Subject)
	o := schema.Outcome{
		Identifier: schema.DeadLetterToken(d.Message.Subject, d.Origin.Sequence),
		Reason:     schema.InvalidMessage, Detail: bad.Error(), Observed: now, Origin: d.Origin,
	}
	if t := schema.Type(kind); t.Valid() {
		o.Type = t
	}
	if declaration := schema.TrimBOM(d.Message.Data); schema.CheckJSON(declaration) == nil {
		o.Declaration = declaration
	} else {
		o.Payload = d.Message.Data
	}
	return o
}
