package doctor

import (
	"testing"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/overview"
)

func TestJudgeOverdue(t *testing.T) {
	judged(t, "none", judgeOverdue(overview.Overdue{}), Pass)
	judged(
		t,
		"some",
		judgeOverdue(overview.Overdue{Count: 3, FirstSeconds: 90.4}),
		Warn,
		"3,",
		"1m30s",
		advice.FixOverdue,
	)
	judged(
		t,
		"many",
		judgeOverdue(overview.Overdue{Count: 100, More: true, FirstSeconds: 7200}),
		Warn,
		"100 or more",
		"2h",
	)
}
