package consumer

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

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
	// Others is what a refusal is compared with.
	Others Others
	// NotFoundGrace is for how long the vendor must have refused an interaction before it is believed, Deadline how old
	// the interaction may grow before it must have ended.
	NotFoundGrace time.Duration
	Deadline      time.Duration
	// FailedStatuses are statuses that the vendor's documentation does not know, and that end an interaction.
	FailedStatuses []schema.Status
}

// Others is what a worker knows of the interactions that it polled lately. Times are by the broker's clock.
type Others struct {
	// RefusedAlike is how many interactions, this one among them, the vendor has refused with the same HTTP status since the
	// last success.
	RefusedAlike int
	// AllRefused says that the worker rests because the vendor refuses all.
	AllRefused bool
	// Succeeded is when the vendor last gave an interaction a status; zero where it never did.
	Succeeded time.Time
	// Since is when the worker began to tell a refusal of one from a refusal of all. Refusals from before count for nothing.
	Since time.Time
	// Interval is the longest between two polls of one interaction.
	Interval time.Duration
}

// refusedMany is how many interactions the vendor must have refused in the same way, with no success between them, before
// refusals are doubted: then it is the address, the token's account, or the vendor itself.
const refusedMany = 5

// doubt tells whether refusals, the first of which came at that time, may be none of this interaction's. They are this one's
// where the vendor has gone on for half of the grace to give others a status.
func (o Others) doubt(first time.Time, grace time.Duration) bool {
	if !o.Succeeded.IsZero() && o.Succeeded.Sub(first) >= refusedAmongOthers(o.Interval, grace) {
		return false
	}
	return o.AllRefused || o.RefusedAlike >= refusedMany
}

// refusedAmongOthers is for how long the vendor must have gone on to give others a status.
func refusedAmongOthers(interval, grace time.Duration) time.Duration { return max(interval, grace/2) }

// refusalsToBelieve is at how many polls in a row the vendor must have refused an interaction before it is believed: one odd
// answer, of a gateway or of a vendor that is just being deployed, ends nothing.
const refusalsToBelieve = 3

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
	if slices.Contains(f.FailedStatuses, f.Status) {
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
	// Refused: the vendor refuses many interactions in the same way, and gives no status for any. It is not known from
	// one poll, see rest.go.
	Refused Trouble = "refused"
)

// Troubles lists all kinds of trouble.
func Troubles() []Trouble { return []Trouble{Unauthorized, Throttled, Unavailable, Refused} }

// TroubleOf is the vendor's trouble that a poll with this fault shows. What the vendor says of one interaction, and a request
// that was not sent, show none. A fault without a name is never the interaction's.
func TroubleOf(f schema.Fault) Trouble {
	switch f {
	case "", schema.FaultNotFound, schema.FaultRejected, schema.FaultNotSent:
		return NoTrouble
	case schema.FaultUnauthorized:
		return Unauthorized
	case schema.FaultThrottled:
		return Throttled
	}
	return Unavailable
}

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
		d.NotBefore, d.Refusals = time.Time{}, schema.Refusals{}
	}
	return d
}

func decide(f Facts) Decision {
	switch f.Fault {
	case "":
		return decideStatus(f)
	case schema.FaultNotFound, schema.FaultRejected:
		return decideRefusal(f)
	case schema.FaultNotSent:
		return Decision{Action: HoldBack, Why: "not sent", Refusals: f.Refusals} // no poll: the count stays
	case schema.FaultThrottled, schema.FaultUnavailable:
		return Decision{Action: HoldBack, Why: string(f.Fault), NotBefore: f.RetryAt}
	case schema.FaultUnauthorized, schema.FaultNotAStatus:
		return Decision{Action: HoldBack, Why: strings.ReplaceAll(string(f.Fault), "_", " ")}
	default: // whatever has no name yet: never an interaction's fault
		return Decision{Action: HoldBack, Why: "unavailable", NotBefore: f.RetryAt}
	}
}

// decideRefusal believes the vendor when it has refused the interaction in the same way at several polls in a row, over the
// grace at least. Anything else in between (a status, a vendor failure) starts the count again.
func decideRefusal(f Facts) Decision {
	before := f.Refusals
	if before.Since.Before(f.Others.Since) {
		before = schema.Refusals{}
	}
	refusals := before.Next(f.StatusCode, f.Now)
	switch {
	case refusals.Count < refusalsToBelieve, f.Now.Sub(refusals.Since) < f.NotFoundGrace:
		return Decision{Action: HoldBack, Why: "refused, not confirmed", Refusals: refusals}
	case f.Others.doubt(refusals.Since, f.NotFoundGrace):
		return Decision{Action: HoldBack, Why: "refused, as others are", Refusals: refusals}
	}
	reason, what := schema.Rejected, "the vendor refused it"
	if f.Fault == schema.FaultNotFound {
		reason, what = schema.NotFound, "the vendor did not know it"
	}
	return Decision{Action: Bury, Why: "refused", Reason: reason, Detail: fmt.Sprintf(
		"%s at %d polls in a row over %s: %s", what, refusals.Count, f.Now.Sub(refusals.Since).Round(time.Second), f.FaultDetail)}
}

func decideStatus(f Facts) Decision {
	message := "the vendor gave no errorMessage"
	if f.ErrorMessage != "" {
		message = "the vendor's errorMessage: " + printable(f.ErrorMessage)
	}
	bury := func(r schema.Reason, detail string) Decision {
		return Decision{Action: Bury, Why: "failed", Reason: r, Detail: detail}
	}
	switch f.Status {
	case schema.StatusProcessed:
		return Decision{Action: Complete, Why: "processed"}
	case schema.StatusProcessingFailed:
		return bury(schema.ProcessingFailed, message)
	case schema.StatusFileUploadFailed:
		return bury(schema.FileUploadFailed, message)
	case schema.StatusFileDownloadFailed:
		return bury(schema.FileDownloadFailed, message)
	}
	if f.Status.Listed() {
		return Decision{Action: HoldBack, Why: "pending"}
	}
	if slices.Contains(f.FailedStatuses, f.Status) {
		return bury(schema.VendorFailed, "the vendor's status is "+schema.Quote(string(f.Status))+"; "+message)
	}
	return Decision{Action: HoldBack, Why: "pending, unlisted", Unlisted: true}
}

// printable is a text on one line, with a space in the place of whatever cannot be shown.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
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
