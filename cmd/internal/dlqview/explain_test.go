package dlqview

import (
	"errors"
	"strings"
	"testing"

	"statusworker/publisher/dlq"
)

// Each reason has its own text, which names the cause or the subject.
func TestExplain(t *testing.T) {
	t.Parallel()
	seen := map[string]dlq.Why{}
	for _, why := range []dlq.Why{
		dlq.Unusable, dlq.NoOutcome, dlq.PublishFailed, dlq.PollPending, dlq.NotTakenIn, dlq.SubjectTaken, dlq.TooSlow,
		dlq.NotConfirmed,
	} {
		r := dlq.Result{What: dlq.Unchanged, Why: why, By: dlq.Stored{Subject: "a.subject"}, Err: errors.New("a cause")}
		text := Explain(r)
		if other, double := seen[text]; double || text == string(why) {
			t.Errorf("%s: %q, want another text than that of %s", why, text, other)
		}
		seen[text] = why
		switch why {
		case dlq.Unusable, dlq.PublishFailed, dlq.NotConfirmed:
			if !strings.Contains(text, r.Err.Error()) {
				t.Errorf("%s: %q lacks the cause", why, text)
			}
		case dlq.NoOutcome, dlq.NotTakenIn:
			if !strings.Contains(text, r.By.Subject) {
				t.Errorf("%s: %q lacks the subject", why, text)
			}
		}
	}
}
