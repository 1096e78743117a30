package breaker

import "statusworker/schema"

// Failure is what is wrong with the vendor. It is never an interaction's fault.
type Failure string

// The failures.
const (
	NoFailure    Failure = ""
	Unauthorized Failure = "unauthorized"
	Throttled    Failure = "throttled"
	Unavailable  Failure = "unavailable"
	// Refused: the vendor refuses many interactions in the same way, and gives no status for any. One poll cannot show
	// it.
	Refused Failure = "refused"
)

// Failures lists all failures.
func Failures() []Failure { return []Failure{Unauthorized, Throttled, Unavailable, Refused} }

// FailureOf is the failure that a poll with this fault shows. What the vendor says of one interaction, and a request
// that was not sent, show none. A fault without a name is never the interaction's.
func FailureOf(f schema.Fault) Failure {
	switch {
	case f == "", f == schema.FaultNotSent, f.Refusal():
		return NoFailure
	case f == schema.FaultUnauthorized:
		return Unauthorized
	case f == schema.FaultThrottled:
		return Throttled
	}
	return Unavailable
}
