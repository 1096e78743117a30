package consumer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"statusworker/consumer/breaker"
	"statusworker/schema"
)

// Facts is what is known after a poll. Decide looks at nothing else.
type Facts struct {
	// Status is what the vendor said, where it did; Fault says why not, where it did not. One of them is set.
	Status       schema.Status
	ErrorMessage string
	Fault        schema.Fault
	// FaultDetail says in a line what happened, StatusCode is the HTTP status of the answer.
	FaultDetail string
	StatusCode  int
	// RetryAt is when the vendor asks to be polled again, or zero.
	RetryAt time.Time
	// Now is when the answer came, Age the time since the declared message was stored, both by the broker's clock.
	Now time.Time
	Age time.Duration
	// Refusals are those of the polls before this one, in a row.
	Refusals schema.Refusals
	// Others is what a refusal is compared with. Times are by the broker's clock.
	Others breaker.Others
	// NotFoundGrace is for how long the vendor must have refused an interaction before it is believed, Deadline how old
	// the interaction may grow before it must have ended.
	NotFoundGrace time.Duration
	Deadline      time.Duration
	// FailedStatuses are statuses that the vendor's documentation does not know, and that end an interaction.
	FailedStatuses []schema.Status
}

// refusalsToBelieve is at how many polls in a row the vendor must have refused an interaction before it is believed:
// one odd answer, of a gateway or of a vendor that is just being deployed, ends nothing.
const refusalsToBelieve = 3

// Result is what came of a poll, in one word.
type Result string

// The results beside the names of the faults.
const (
	ResultPending   = Result(schema.Pending)
	ResultProcessed = Result(schema.Processed)
	ResultFailed    = Result(schema.Failed)
)

// Results lists all that a poll can have.
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

// Result gives the result of the poll.
func (f Facts) Result() Result {
	if f.Fault != "" {
		return Result(f.Fault)
	}
	meaning, _ := f.meaning()
	return Result(meaning)
}

// meaning is what the status means, and the reason of the dead letter where that is a failure. Both [Decide] and
// [Facts.Result] follow it.
func (f Facts) meaning() (schema.Meaning, schema.Reason) {
	if !f.Status.Known() && slices.Contains(f.FailedStatuses, f.Status) {
		return schema.Failed, schema.VendorFailed
	}
	return f.Status.Meaning(), f.Status.Reason()
}

// Action is what to do about an interaction.
type Action string

// The actions.
const (
	// Redeliver waits for the next poll.
	Redeliver Action = "redelivery"
	// Complete publishes processed events, see [schema.Declared.Destinations].
	Complete Action = "complete"
	// DeadLetter publishes a dead letter.
	DeadLetter Action = "dead_letter"
)

// Decision says what to do and why.
type Decision struct {
	Action Action
	// Why names the row of the table.
	Why string
	// Reason and Detail go into the dead letter.
	Reason schema.Reason
	Detail string
	// NotBefore is the earliest next poll that the vendor asked for, or zero.
	NotBefore time.Time
	// Refusals are to be remembered until the next poll.
	Refusals schema.Refusals
	// Unknown says that the vendor's documentation does not know the status.
	UnknownStatus bool
}

// Decide is the decision table.
func Decide(f Facts) Decision {
	d := decide(f)
	if d.Action == Redeliver && f.Fault != schema.FaultNotSent && f.Age > f.Deadline {
		last := "the last status was " + schema.Quote(string(f.Status))
		if f.Fault != "" {
			last = "the last poll got none: " + f.FaultDetail
		}
		d.Action, d.Why = DeadLetter, "deadline exceeded"
		d.Reason = schema.DeadlineExceeded
		d.Detail = fmt.Sprintf(
			"not terminal %s after it was declared, %s are allowed; %s",
			f.Age.Round(time.Second),
			f.Deadline,
			last,
		)
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
		return Decision{Action: Redeliver, Why: "not sent", Refusals: f.Refusals} // no poll: the count stays
	case schema.FaultThrottled, schema.FaultUnavailable:
		return Decision{Action: Redeliver, Why: string(f.Fault), NotBefore: f.RetryAt}
	case schema.FaultUnauthorized, schema.FaultNotAStatus:
		return Decision{Action: Redeliver, Why: strings.ReplaceAll(string(f.Fault), "_", " ")}
	default: // whatever has no name yet: never an interaction's fault
		return Decision{Action: Redeliver, Why: "unavailable", NotBefore: f.RetryAt}
	}
}

// decideRefusal believes the vendor when it has refused the interaction in the same way at several polls in a row, over
// the grace at least. Anything else in between (a status, a vendor failure) starts the count again.
func decideRefusal(f Facts) Decision {
	before := f.Refusals
	if before.Since.Before(f.Others.Since) {
		before = schema.Refusals{}
	}
	refusals := before.Next(f.StatusCode, f.Now)
	switch {
	case refusals.Count < refusalsToBelieve, f.Now.Sub(refusals.Since) < f.NotFoundGrace:
		return Decision{Action: Redeliver, Why: "refused, not confirmed", Refusals: refusals}
	case f.Others.Doubt(refusals.Since, f.NotFoundGrace):
		return Decision{Action: Redeliver, Why: "refused, as others are", Refusals: refusals}
	}
	return Decision{Action: DeadLetter, Why: "refused", Reason: f.Fault.Reason(), Detail: fmt.Sprintf(
		"%s at %d polls in a row over %s: %s",
		f.Fault.Text(),
		refusals.Count,
		f.Now.Sub(refusals.Since).Round(time.Second),
		f.FaultDetail,
	)}
}

func decideStatus(f Facts) Decision {
	meaning, reason := f.meaning()
	switch meaning {
	case schema.Processed:
		return Decision{Action: Complete, Why: "processed"}
	case schema.Failed:
		detail := "the vendor gave no errorMessage"
		if f.ErrorMessage != "" {
			detail = "the vendor's errorMessage: " + schema.Printable(f.ErrorMessage)
		}
		if !f.Status.Known() {
			detail = "the vendor's status is " + schema.Quote(string(f.Status)) + "; " + detail
		}
		return Decision{Action: DeadLetter, Why: "failed", Reason: reason, Detail: detail}
	}
	if !f.Status.Known() {
		return Decision{Action: Redeliver, Why: "pending, unknown", UnknownStatus: true}
	}
	return Decision{Action: Redeliver, Why: "pending"}
}
