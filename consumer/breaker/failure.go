package breaker

import "statusworker/schema"

// Failure is a failure of the vendor, and not of one interaction.
type Failure string

// The failures.
const (
	NoFailure    Failure = ""
	Unauthorized Failure = "unauthorized"
	Throttled    Failure = "throttled"
	Unavailable  Failure = "unavailable"
	// Refused means that the vendor refuses many interactions in the same way, and returns a status for none. One poll
	// cannot show it.
	Refused Failure = "refused"
)

// Failures returns all failures.
func Failures() []Failure { return []Failure{Unauthorized, Throttled, Unavailable, Refused} }

// FailureOf returns the failure that a poll with this fault shows. A refusal of one interaction, and a request that was
// not sent, show none. A fault without a name is a failure of the vendor.
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
