package dlqview

import (
	"errors"
	"strings"
	"testing"

	"statusworker/publisher/dlq"
)

// Each reason for which a dead letter is left has a text, which names what it rests on.
func TestExplain(t *testing.T) {
	t.Parallel()
	seen := map[string]dlq.Why{}
	for _, why := range []dlq.Why{
		dlq.Unusable, dlq.NoOutcome, dlq.PublishFailed, dlq.PollPending, dlq.NotTakenIn, dlq.SubjectTaken, dlq.TooSlow,
		dlq.NotConfirmed,
	} {
		r := dlq.Result{What: dlq.Left, Why: why, By: dlq.Stored{Subject: "a.subject"}, Err: errors.New("a cause")}
		text := Explain(r)
		if other, double := seen[text]; double || text == string(why) {
			t.Errorf("%s: %q, want a text of its own (%s)", why, text, other)
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
