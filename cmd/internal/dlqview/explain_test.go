package dlqview

import (
	"errors"
	"strings"
	"testing"

	"statusworker/publisher/dlq"
)

// Each cause has its own text, which names the error or the subject.
func TestExplain(t *testing.T) {
	t.Parallel()
	seen := map[string]dlq.Cause{}
	for _, cause := range []dlq.Cause{
		dlq.Unusable, dlq.NoOutcome, dlq.PublishFailed, dlq.PollPending, dlq.NotTakenIn, dlq.SubjectTaken, dlq.TooSlow,
		dlq.NotConfirmed,
	} {
		r := dlq.Result{
			Action: dlq.Unchanged, Cause: cause, By: dlq.Stored{Subject: "a.subject"}, Err: errors.New("an error"),
		}
		text := Explain(r)
		if other, double := seen[text]; double || text == string(cause) {
			t.Errorf("%s: %q, want another text than that of %s", cause, text, other)
		}
		seen[text] = cause
		switch cause {
		case dlq.Unusable, dlq.PublishFailed, dlq.NotConfirmed:
			if !strings.Contains(text, r.Err.Error()) {
				t.Errorf("%s: %q lacks the error", cause, text)
			}
		case dlq.NoOutcome, dlq.NotTakenIn:
			if !strings.Contains(text, r.By.Subject) {
				t.Errorf("%s: %q lacks the subject", cause, text)
			}
		}
	}
}
