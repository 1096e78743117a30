package dlqview

import (
	"fmt"
	"time"

	"statusworker/publisher/dlq"
)

// Explain returns why a dead letter was not replayed or purged, and what to do.
func Explain(r dlq.Result) string {
	switch text := Cause(r); r.Cause {
	case dlq.PollPending, dlq.NotTakenIn:
		return text + "; run the command again later (if this persists, `statusworker doctor` finds messages that " +
			"are not delivered)"
	case dlq.SubjectTaken, dlq.TooSlow, dlq.NotConfirmed:
		return text + ": run the command again later"
	default:
		return text
	}
}

// Cause returns why a dead letter was not replayed or purged, or waits.
func Cause(r dlq.Result) string {
	stored := r.By.Time.UTC().Format(time.RFC3339)
	switch r.Cause {
	case dlq.Unusable:
		return "it cannot be replayed: " + r.Err.Error()
	case dlq.NoOutcome:
		return fmt.Sprintf("the message stored as %s at %s is not an event of statusworker: "+
			"read it, delete it if it does not belong there, and run the command again", r.By.Subject, stored)
	case dlq.PublishFailed:
		return "its declared message was not stored: " + r.Err.Error()
	case dlq.PollPending:
		return "its last generation has not ended: a worker has yet to make its last poll"
	case dlq.NotTakenIn:
		return "its last generation has not ended: a worker has yet to take in the message on " + r.By.Subject
	case dlq.SubjectTaken:
		return "another message is stored on the subject of its declared message"
	case dlq.TooSlow:
		return "the broker answers too slowly"
	case dlq.NotConfirmed:
		return "the broker did not confirm its declared message: " + r.Err.Error()
	}
	return string(r.Cause)
}
