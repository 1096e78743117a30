package doctor

import (
	"testing"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/overview"
)

func TestJudgeOverdue(t *testing.T) {
	judged(t, "none", judgeOverdue(overview.Overdue{}), Pass)
	some := overview.Overdue{Count: 3, FirstSeconds: 90.4}
	judged(t, "some", judgeOverdue(some), Warn, "3,", "1m30s", advice.FixOverdue)
	many := overview.Overdue{Count: 100, More: true, FirstSeconds: 7200}
	judged(t, "many", judgeOverdue(many), Warn, "100 or more", "2h")
}
