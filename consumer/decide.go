package consumer

import (
	"fmt"
	"time"

	"statusworker/schema"
)

// Facts is what is known after a poll. Decide looks at nothing else.
type Facts struct {
	// Status is what the vendor said, where it did; Fault says why not, where it did not. One of them is set.
	Status       schema.Status
	ErrorMessage string
	Fault        schema.Fault
	// FaultDetail says in a line what happened.
	FaultDetail string
	// RetryAt is when the vendor wants to be asked again, or zero.
	RetryAt time.Time
	// Age is the time since the declared message was stored, by the broker's clock.
	Age time.Duration
	// NotFoundGrace is how old an interaction must be before the vendor's 404 is believed, Deadline how old it may
	// grow before it must have ended.
	NotFoundGrace time.Duration
	Deadline      time.Duration
}

// Result is what came of a poll, in one word.
type Result string

// The results beside the names of the faults.
const (
	ResultPending   Result = "pending"
	ResultProcessed Result = "processed"
	ResultFailed    Result = "failed"
)

// Results lists all that a poll can have.
func Results() []Result {
	all := []Result{ResultPending, ResultProcessed, ResultFailed}
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
	switch f.Status {
	case schema.StatusProcessed:
		return ResultProcessed
	case schema.StatusProcessingFailed, schema.StatusFileUploadFailed, schema.StatusFileDownloadFailed:
		return ResultFailed
	}
	return ResultPending
}

// Action is what to do about an interaction.
type Action string

// The actions.
const (
	// HoldBack waits for the next poll.
	HoldBack Action = "hold_back"
	// Complete publishes processed events, see [Destinations].
	Complete Action = "complete"
	// Bury publishes a dead letter.
	Bury Action = "bury"
)

// Trouble is what the vendor suffers from, as far as one poll shows. It is never an interaction's fault.
type Trouble string

// The kinds of trouble.
const (
	NoTrouble    Trouble = ""
	Unauthorized Trouble = "unauthorized"
	Throttled    Trouble = "throttled"
	Unavailable  Trouble = "unavailable"
)

// Troubles lists all kinds of trouble.
func Troubles() []Trouble { return []Trouble{Unauthorized, Throttled, Unavailable} }

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
	// Trouble makes the worker rest when it goes on.
	Trouble Trouble
	// Unlisted says that the vendor's documentation does not know the status.
	Unlisted bool
}

// Decide is the decision table.
func Decide(f Facts) Decision {
	d := decide(f)
	if d.Action == HoldBack && f.Fault != schema.FaultNotSent && f.Age > f.Deadline {
		last := "the last status was " + schema.Quote(string(f.Status))
		if f.Fault != "" {
			last = "the last poll got none: " + f.FaultDetail
		}
		d.Action, d.Why = Bury, "deadline exceeded"
		d.Reason = schema.DeadlineExceeded
		d.Detail = fmt.Sprintf("not terminal %s after it was declared, %s are allowed; %s", f.Age.Round(time.Second), f.Deadline, last)
		d.NotBefore = time.Time{}
	}
	return d
}

func decide(f Facts) Decision {
	switch f.Fault {
	case "":
		return decideStatus(f)
	case schema.FaultNotFound:
		if f.Age <= f.NotFoundGrace {
			return Decision{Action: HoldBack, Why: "not found, young"}
		}
		return Decision{Action: Bury, Why: "not found, old", Reason: schema.NotFound, Detail: fmt.Sprintf(
			"the vendor does not know it %s after it was declared: %s", f.Age.Round(time.Second), f.FaultDetail)}
	case schema.FaultRejected:
		return Decision{Action: Bury, Why: "rejected", Reason: schema.Rejected, Detail: f.FaultDetail}
	case schema.FaultUnauthorized:
		return Decision{Action: HoldBack, Why: "unauthorized", Trouble: Unauthorized}
	case schema.FaultThrottled:
		return Decision{Action: HoldBack, Why: "throttled", Trouble: Throttled, NotBefore: f.RetryAt}
	case schema.FaultNotSent:
		return Decision{Action: HoldBack, Why: "not sent"}
	case schema.FaultNotAStatus:
		return Decision{Action: HoldBack, Why: "not a status", Trouble: Unavailable}
	default: // schema.FaultUnavailable, and whatever has no name yet: never an interaction's fault
		return Decision{Action: HoldBack, Why: "unavailable", Trouble: Unavailable, NotBefore: f.RetryAt}
	}
}

func decideStatus(f Facts) Decision {
	bury := func(r schema.Reason) Decision {
		detail := "the vendor gave no errorMessage"
		if f.ErrorMessage != "" {
			detail = "the vendor's errorMessage: " + f.ErrorMessage
		}
		return Decision{Action: Bury, Why: "failed", Reason: r, Detail: detail}
	}
	switch f.Status {
	case schema.StatusProcessed:
		return Decision{Action: Complete, Why: "processed"}
	case schema.StatusProcessingFailed:
		return bury(schema.ProcessingFailed)
	case schema.StatusFileUploadFailed:
		return bury(schema.FileUploadFailed)
	case schema.StatusFileDownloadFailed:
		return bury(schema.FileDownloadFailed)
	}
	if !f.Status.Listed() {
		return Decision{Action: HoldBack, Why: "pending, unlisted", Unlisted: true}
	}
	return Decision{Action: HoldBack, Why: "pending"}
}

// Destinations says where a processed interaction goes. Transcripts can be fetched for audio only, CX AI results for
// every type unless they were declared away; an interaction with nothing to fetch still gets an outcome.
func Destinations(t schema.Type, includeAIResults bool) []schema.Destination {
	var to []schema.Destination
	if t == schema.Audio {
		to = append(to, schema.ToTranscript)
	}
	if includeAIResults {
		to = append(to, schema.ToCXAI)
	}
	if len(to) == 0 {
		to = append(to, schema.Unrouted)
	}
	return to
}

// Wait is how long an interaction of that age is held back at least: the guidance, or the share stretch of its age where
// that is more, but never more than limit for that. A stretch of 0 is none.
func Wait(guidance, age time.Duration, stretch float64, limit time.Duration) time.Duration {
	return max(guidance, min(time.Duration(stretch*float64(age)), limit))
}
