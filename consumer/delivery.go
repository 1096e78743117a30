package consumer

import (
	"context"
	"errors"
	"fmt"
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

// deliver handles one delivery: begin, poll, decide, settle.
func (w *Worker) deliver(ctx context.Context, d *delivery) (err error) {
	ctx, spans := w.trace(ctx, d)
	defer func() { spans.end(err) }()
	if poll, err := w.begin(ctx, d); err != nil || !poll {
		return err
	}
	facts, decision, answer := w.poll(ctx, d, spans)
	// With an outcome, the count stays as before this poll: if publishing fails, the next poll can end the interaction.
	if decision.Action == Redeliver {
		d.Refusals = decision.Refusals
	}
	if decision.UnknownStatus {
		w.noteUnknown(d, facts.Status)
	}
	if facts.Fault == "" {
		d.Saw(facts.Status, facts.Now)
	}
	if decision.Action == Redeliver {
		w.count.waits.Add(1)
		w.forgetPanics(d)
		return w.redeliver(ctx, d, decision.NotBefore)
	}
	return w.conclude(ctx, d, decision, answer)
}

// begin reports whether a delivery is to be polled. If it is not, begin has settled it.
func (w *Worker) begin(ctx context.Context, d *delivery) (poll bool, err error) {
	verdict, err := w.redelivery.Begin(ctx, &d.Delivery)
	if err != nil {
		if bad := (*schema.MemberError)(nil); errors.As(err, &bad) {
			return false, w.deadLetterInvalid(ctx, d, bad)
		}
		return false, err
	}
	switch verdict {
	case redelivery.Poll:
	case redelivery.Early, redelivery.Undecided:
		w.count.notPolled.Add(1)
		return false, nil
	default:
		w.count.dropped.Add(1)
		w.declaredBefore(d, lifecycle.TakeIn(verdict))
		return false, nil
	}
	if w.inTime(ctx, d) && w.mayPoll(d) {
		return true, nil
	}
	w.count.notPolled.Add(1)
	return false, w.redeliver(ctx, d, time.Time{})
}

// inTime reports whether the request may be sent. If it is too late, it tries to postpone the next poll.
func (w *Worker) inTime(ctx context.Context, d *delivery) bool {
	late := clock.Passed(d.SendBy, w.cfg.Now())
	if late < 0 || w.redelivery.Renew(ctx, &d.Delivery) {
		return true
	}
	if d.Reserved() {
		w.warnOf(d, "polling", fmt.Errorf("the request was not sent, because it was %s too late: storing the next "+
			"reservation, or connecting to ElevateAI, took too long; the interaction waits for its next poll",
			schema.Duration(max(late, time.Millisecond).Round(time.Millisecond))))
	}
	return false
}

// poll makes the status request, decides what follows, and reports the result to the observer and the breaker.
func (w *Worker) poll(ctx context.Context, d *delivery, spans *spans) (Facts, Decision, schema.Answer) {
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
		w.count.notPolled.Add(1)
		return facts, decision, answer
	}
	w.count.polls.Add(1)
	if breaker.FailureOf(facts.Fault) != breaker.NoFailure {
		w.count.vendorFailures.Add(1)
	}
	w.oldest.note(d.Type, facts.Age)
	w.cfg.Observer.Polled(d.Type, facts.Result(), took, late)
	// A poll shows nothing about the vendor if a shutdown or the worker cancelled it, or if it failed because this
	// process stalled.
	if ctx.Err() == nil && !errors.Is(err, context.Canceled) && !w.ownFailure(d, facts, began, took) {
		w.report(d, facts, decision)
		if renewed {
			w.breaker.Cut(breaker.Unauthorized)
		}
	}
	return facts, decision, answer
}

// noteUnknown counts an unknown status, and logs it once.
func (w *Worker) noteUnknown(d *delivery, status schema.Status) {
	w.count.unknownStatus.Add(1)
	if !w.unknownStatuses.first(status) {
		return
	}
	fields := logrus.Fields{"status": schema.Quote(string(status)), "interaction": d.Identifier, "type": d.Type}
	for _, configured := range w.cfg.FailedStatuses {
		if strings.EqualFold(string(configured), string(status)) {
			fields["differs_in_case_from"] = string(configured)
		}
	}
	w.log.WithFields(fields).Warn("unknown status; it counts as pending")
}

// mayPoll reports whether the breaker allows a poll of this delivery. A probe skips an interaction that was polled
// before if others are due after it: one of them may be new, and show that the vendor works.
func (w *Worker) mayPoll(d *delivery) bool {
	if d.probe {
		return d.Message.Pending == 0 || !w.breaker.PassesOver(d.Identifier, d.At.PolledBefore())
	}
	return w.breaker.MayPoll()
}

// maxDelay limits how long an interaction waits because of a pause or the vendor's Retry-After. Both stop this worker
// from polling anyway, but a stored delay also applies to other workers, and to those that start later.
const maxDelay = breaker.MaxPause

// redeliver ends a delivery after which the interaction waits for its next poll. A pause, or notBefore, can delay that
// poll, but by at most maxDelay and not beyond the deadline, so that any worker can dead-letter the interaction then.
func (w *Worker) redeliver(ctx context.Context, d *delivery, notBefore time.Time) error {
	if over := w.breaker.Until(); over.After(notBefore) {
		notBefore = over
	}
	latest := w.cfg.Now().Add(maxDelay)
	if deadline := w.clock.Local(d.At.Generation.Add(w.cfg.Deadline)); deadline.Before(latest) {
		latest = deadline
	}
	if notBefore.After(latest) {
		notBefore = latest
	}
	return w.redelivery.Redeliver(ctx, &d.Delivery, notBefore)
}

// factsOf collects the facts after a poll. Renewed means that the vendor rejected a token that is no longer in use.
func (w *Worker) factsOf(d *delivery, answer schema.Answer, err error) (facts Facts, renewed bool) {
	now := w.clock.Now()
	facts = Facts{
		Status:         answer.Status,
		ErrorMessage:   answer.ErrorMessage,
		Sent:           w.clock.At(answer.Sent),
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
			facts.Fault, facts.StatusCode, facts.RetryAt = poll.Fault, poll.StatusCode, poll.RetryAt
			facts.Sent = w.clock.At(poll.Sent)
			renewed = poll.TokenRenewed
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

// report reports the result of a poll to the breaker.
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
		// The code is 0 if no request was sent, because the identifier is invalid. The breaker needs one that is not 0.
		r.Refused, r.Ended = max(f.StatusCode, 1), decision.Action == DeadLetter
	}
	w.breaker.Report(r)
}

// ask makes the status request. If it is too late when there is a connection, it tries once more: there may be an idle
// connection then.
func (w *Worker) ask(ctx context.Context, d *delivery) (schema.Answer, error) {
	d.lane.polling.Add(1)
	defer d.lane.polling.Add(-1)
	answer, err := w.send(ctx, d)
	poll := (*schema.PollError)(nil)
	late := errors.As(err, &poll) && poll.Fault == schema.FaultNotSent && clock.Passed(d.SendBy, w.cfg.Now()) >= 0
	if late && ctx.Err() == nil && w.inTime(ctx, d) {
		return w.send(ctx, d)
	}
	return answer, err
}

// send makes the status request. No other worker polls the interaction meanwhile: the request is cancelled if the next
// poll cannot be delayed.
func (w *Worker) send(ctx context.Context, d *delivery) (answer schema.Answer, err error) {
	ctx, release := w.redelivery.Keep(ctx, &d.Delivery)
	var request redelivery.Request
	defer func() { release(request) }()
	answer, err = w.status.Status(ctx, d.Identifier, d.SendBy)
	request = redelivery.Request{Sent: answer.Sent, Answered: err == nil}
	if poll := (*schema.PollError)(nil); errors.As(err, &poll) {
		request = redelivery.Request{Sent: poll.Sent, Answered: poll.StatusCode != 0}
	}
	return answer, err
}

// conclude publishes the outcome, waits until the broker has stored it, and then replaces the reservation by a
// tombstone or, with delayed naks, acknowledges the message.
func (w *Worker) conclude(ctx context.Context, d *delivery, decision Decision, answer schema.Answer) error {
	declared, err := d.Declared()
	if err != nil {
		if bad := (*schema.MemberError)(nil); errors.As(err, &bad) {
			return w.deadLetterInvalid(ctx, d, bad)
		}
		return err
	}
	document, payload := answer.Document()
	o := schema.Outcome{
		Identifier:    d.Identifier,
		Type:          d.Type,
		Answer:        document,
		AnswerPayload: payload,
		AnswerSize:    answer.Size,
		Declaration:   declared.Declaration,
		Observed:      w.clock.Now(),
		History:       d.History(),
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
	// minPublish is the minimum time for publishing. An answer counts even if it comes after the next poll falls due.
	// Publishing is idempotent, so another worker that does the same does no harm.
	minPublish = 5 * time.Second
	// maxPublish limits the time for publishing if the next poll is far away, because the delivery occupies a slot. An
	// outcome that was not stored is published after the next poll.
	maxPublish = 30 * time.Second
)

// publish stores the outcomes within the time of the delivery. If that fails, the interaction waits for its next poll.
func (w *Worker) publish(ctx context.Context, d *delivery, outcomes ...schema.Outcome) error {
	bounded, cancel := context.WithTimeout(ctx, min(max(minPublish, d.Until.Sub(w.cfg.Now())), maxPublish))
	defer cancel()
	if err := w.outcomes.Publish(bounded, outcomes...); err != nil {
		return errors.Join(err, w.redeliver(ctx, d, time.Time{}))
	}
	return nil
}

// deadLetterInvalid dead-letters an invalid message.
func (w *Worker) deadLetterInvalid(ctx context.Context, d *delivery, bad *schema.MemberError) error {
	if err := w.publish(ctx, d, invalid(d, w.clock.Now(), bad)); err != nil {
		return err
	}
	return w.redelivery.Finish(ctx, &d.Delivery)
}

// invalid is the dead letter of an invalid message.
func invalid(d *delivery, now time.Time, bad *schema.MemberError) schema.Outcome {
	kind, _, _ := d.Namespace.SplitSubject(d.Message.Subject)
	o := schema.Outcome{
		Identifier: d.Namespace.DeadLetterToken(d.Message.Subject, d.Origin.Sequence),
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
