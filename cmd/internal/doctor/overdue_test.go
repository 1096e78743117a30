package doctor

import (
	"testing"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/overview"
	"statusworker/schema"
)

func TestJudgeOverdue(t *testing.T) {
	judged(t, "none", judgeOverdue(schema.DefaultNamespace, overview.Overdue{}), Pass)
	some := overview.Overdue{Count: 3, FirstSeconds: 90.4}
	judged(t, "some", judgeOverdue(schema.DefaultNamespace, some), Warn, "3,", "1m30s",
		advice.FixOverdue(schema.DefaultNamespace))
	many := overview.Overdue{Count: 100, More: true, FirstSeconds: 7200}
	judged(t, "many", judgeOverdue(schema.DefaultNamespace, many), Warn, "100 or more", "2h")
}
