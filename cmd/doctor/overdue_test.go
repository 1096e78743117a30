package doctor

import (
	"testing"

	"statusworker/consumer/survey"
)

func TestJudgeOverdue(t *testing.T) {
	judged(t, "none", judgeOverdue(survey.Overdue{}), Pass)
	judged(t, "some", judgeOverdue(survey.Overdue{Count: 3, FirstSeconds: 90.4}), Warn, "3,", "1m30s", survey.FixOverdue)
	judged(t, "many", judgeOverdue(survey.Overdue{Count: 100, More: true, FirstSeconds: 7200}), Warn, "100 or more", "2h")
}
