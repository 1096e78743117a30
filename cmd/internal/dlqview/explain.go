package dlqview

import (
	"fmt"
	"time"

	"statusworker/publisher/dlq"
)

// Explain says why a dead letter was left, and what to do.
func Explain(r dlq.Result) string {
	const later = "run it again later"
	stored := r.By.Time.UTC().Format(time.RFC3339)
	switch r.Why {
	case dlq.Unusable:
		return "it cannot be replayed: " + r.Err.Error()
	case dlq.NoOutcome:
		return fmt.Sprintf("what was stored as %s at %s is no event of statusworker: "+
			"read it, delete it if it should not be there, and run it again", r.By.Subject, stored)
	case dlq.PublishFailed:
		return "its declared message was not stored: " + r.Err.Error()
	case dlq.PollPending:
		return "its last generation is still ending: a worker has still to make its last poll; " + later + orDoctor
	case dlq.NotTakenIn:
		return fmt.Sprintf("its last generation is still ending: a worker has still to take in the message on %s; %s",
			r.By.Subject, later) + orDoctor
	case dlq.SubjectTaken:
		return "another message is stored on the subject of its declared message: " + later
	case dlq.TooSlow:
		return "the broker is too slow to say what is stored: " + later
	case dlq.NotConfirmed:
		return "the broker did not confirm its declared message: " + r.Err.Error() + ": " + later
	}
	return string(r.Why)
}

// orDoctor is what to do if no worker makes progress.
const orDoctor = " (where this lasts, `statusworker doctor` shows messages that are no longer delivered)"
