package consumer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"statusworker/consumer/breaker"
	"statusworker/schema"
)

// Facts are the inputs of [Decide]: all that is known after a poll.
type Facts struct {
	// Status is the vendor's status. If there is none, Fault is the reason. Exactly one of them is set.
	Status       schema.Status
	ErrorMessage string
	Fault        schema.Fault
	// FaultDetail describes the fault in one line, StatusCode is the HTTP status of the answer.
	FaultDetail string
	StatusCode  int
	// RetryAt is the vendor's Retry-After, or zero.
	RetryAt time.Time
	// Sent is when the request was written, Now the time of the answer, and Age the time since the declared message was
	// stored, all by the broker's clock.
	Sent, Now time.Time
	Age       time.Duration
	// Refusals are those of the polls directly before this one.
	Refusals schema.Refusals
	// Others are the results of other interactions, with times of the broker's clock.
	Others breaker.Others
	// NotFoundGrace, Deadline and FailedStatuses are those of the [Config].
	NotFoundGrace  time.Duration
	Deadline       time.Duration
	FailedStatuses []schema.Status
}

// confirmAfter is at how many polls in a row the vendor must refuse an interaction before it is dead-lettered. A single
// refusal can come from a gateway, or from a vendor that is being deployed.
const confirmAfter = 3

// Result is the result of a poll, as a label of metrics.
type Result string

// The results that are not faults.
const (
	ResultPending   = Result(schema.Pending)
	ResultProcessed = Result(schema.Processed)
	ResultFailed    = Result(schema.Failed)
)

// Results returns all results.
func Results() []Result {
	var all []Result
	for _, m := range schema.Meanings() {
		all = append(all, Result(m))
	}
	for _, f := range schema.Faults() {
		if f != schema.FaultNotSent { // then there was no poll
			all = append(all, Result(f))
		}
	}
	return all
}

// Result returns the result of the poll.
func (f Facts) Result() Result {
	if f.Fault != "" {
		return Result(f.Fault)
	}
	meaning, _ := f.meaning()
	return Result(meaning)
}

// meaning returns the meaning of the status, and the reason of its dead letter if it means a failure. [Decide] and
// [Facts.Result] use it.
func (f Facts) meaning() (schema.Meaning, schema.Reason) {
	if !f.Status.Known() && slices.Contains(f.FailedStatuses, f.Status) {
		return schema.Failed, schema.VendorFailed
	}
	return f.Status.Meaning(), f.Status.Reason()
}

// Action is what follows a poll.
type Action string

// The actions.
const (
	// Redeliver lets the interaction wait for its next poll.
	Redeliver Action = "redelivery"
	// Complete publishes the processed events, see [schema.Declared.Destinations].
	Complete Action = "complete"
	// DeadLetter publishes a dead letter.
	DeadLetter Action = "dead_letter"
)

// Decision is an action, and the reason for it.
type Decision struct {
	Action Action
	// Why names the row of the decision table.
	Why string
	// Reason and Detail are those of the dead letter.
	Reason schema.Reason
	Detail string
	// NotBefore is the earliest next poll by the vendor's Retry-After, or zero.
	NotBefore time.Time
	// Refusals are the [Facts.Refusals] of the next poll.
	Refusals schema.Refusals
	// UnknownStatus means that the status is unknown, and is not one of [Facts.FailedStatuses].
	UnknownStatus bool
}

// Decide is the decision table: it is a pure function.
func Decide(f Facts) Decision {
	d := decide(f)
	if d.Action == Redeliver && f.Fault != schema.FaultNotSent && f.Age > f.Deadline {
		last := "the last status is " + schema.Quote(string(f.Status))
		if f.Fault != "" {
			last = "the last poll got no status: " + f.FaultDetail
		}
		d.Action, d.Why = DeadLetter, "deadline exceeded"
		d.Reason = schema.DeadlineExceeded
		d.Detail = fmt.Sprintf("no final status %s after it was declared, the deadline is %s; %s",
			schema.Duration(f.Age.Round(time.Second)), schema.Duration(f.Deadline), last)
		d.NotBefore, d.Refusals = time.Time{}, schema.Refusals{}
	}
	return d
}

func decide(f Facts) Decision {
	switch {
	case f.Fault == "":
		return decideStatus(f)
	case f.Fault.Refusal():
		return decideRefusal(f)
	}
	switch f.Fault {
	case schema.FaultNotSent:
		return Decision{Action: Redeliver, Why: "not sent", Refusals: f.Refusals} // not polled: the count is kept
	case schema.FaultThrottled, schema.FaultUnavailable:
		return Decision{Action: Redeliver, Why: string(f.Fault), NotBefore: f.RetryAt}
	case schema.FaultUnauthorized, schema.FaultNotAStatus:
		return Decision{Action: Redeliver, Why: strings.ReplaceAll(string(f.Fault), "_", " ")}
	default: // a fault without a name is not the interaction's
		return Decision{Action: Redeliver, Why: "unavailable", NotBefore: f.RetryAt}
	}
}

// decideRefusal ends an interaction when the vendor has refused it in the same way at several polls in a row, at least
// for the grace period. Any other result in between (a status, a vendor failure) resets the count.
func decideRefusal(f Facts) Decision {
	before := f.Refusals
	if before.Since.Before(f.Others.Since) {
		before = schema.Refusals{}
	}
	refusals := before.Next(f.StatusCode, f.Now)
	// The vendor refuses between the request and the answer, so it has refused for this time at least.
	lasted := f.Sent.Sub(refusals.Since)
	switch {
	case refusals.Count < confirmAfter, lasted < f.NotFoundGrace:
		return Decision{Action: Redeliver, Why: "refused, not confirmed", Refusals: refusals}
	case f.Others.Doubt(refusals.Since, f.NotFoundGrace):
		return Decision{Action: Redeliver, Why: "refused, as others are", Refusals: refusals}
	}
	detail := fmt.Sprintf("%s at %d consecutive polls over %s: %s", f.Fault.Text(), refusals.Count,
		schema.Duration(lasted.Round(time.Second)), f.FaultDetail)
	return Decision{Action: DeadLetter, Why: "refused", Reason: f.Fault.Reason(), Detail: detail}
}

func decideStatus(f Facts) Decision {
	meaning, reason := f.meaning()
	switch meaning {
	case schema.Processed:
		return Decision{Action: Complete, Why: "processed"}
	case schema.Failed:
		detail := "ElevateAI's answer has no errorMessage"
		if f.ErrorMessage != "" {
			detail = "ElevateAI's errorMessage: " + schema.Printable(f.ErrorMessage)
		}
		if !f.Status.Known() {
			detail = "ElevateAI's status is " + schema.Quote(string(f.Status)) + "; " + detail
		}
		return Decision{Action: DeadLetter, Why: "failed", Reason: reason, Detail: detail}
	}
	if !f.Status.Known() {
		return Decision{Action: Redeliver, Why: "pending, unknown", UnknownStatus: true}
	}
	return Decision{Action: Redeliver, Why: "pending"}
}
