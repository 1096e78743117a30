package survey_test

import (
	"slices"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/consumer/survey"
	"statusworker/schema"
)

func TestAdvice(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC)
	worker := func(state schema.WorkerState, cause, detail string) survey.Worker {
		w := survey.Worker{Announcement: schema.Announcement{Worker: "w", Host: "pod", Version: "v1", State: state, Cause: cause, Detail: detail, PollsPerSecond: 9}}
		if cause != "" {
			w.Until = &until
		}
		return w
	}
	working := worker(schema.Working, "", "")
	budgeted := working
	budgeted.Budget = 10
	newer := working
	newer.Version = "v2"
	unreadable := survey.Worker{Announcement: schema.Announcement{Worker: "x1"}, Problem: "its announcement has no state"}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	late := survey.Lane{Type: schema.Audio, Due: 1200, Out: 34, DueSeconds: 190}
	for name, test := range map[string]struct {
		s    survey.Survey
		want []string
	}{
		"all is well":           {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working, working}}, nil},
		"due, and not for long": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working}, Lanes: []survey.Lane{{Type: schema.Chat, Due: 5000, DueSeconds: 30}}}, nil},
		"nothing provisioned":   {survey.Survey{}, []string{"nothing is provisioned: run `statusworker provision` once, with the rights to create streams"}},
		"missing": {survey.Survey{HoldBack: consumer.Nak, Missing: []string{"stream A", "stream B"}, Workers: []survey.Worker{working}},
			[]string{"missing: stream A, stream B; run `statusworker provision --hold-back nak`"}},
		"nobody can announce itself": {survey.Survey{HoldBack: consumer.Reserve, Missing: []string{"stream " + schema.StreamWorkers}},
			[]string{"missing: stream " + schema.StreamWorkers + "; run `statusworker provision`"}},
		"no worker": {survey.Survey{HoldBack: consumer.Reserve, Lanes: []survey.Lane{late}},
			[]string{"no worker is alive: nothing is polled; start `statusworker run`"}},
		"all rest, and what waits because of it is not told again": {
			survey.Survey{HoldBack: consumer.Reserve, Lanes: []survey.Lane{late}, Workers: []survey.Worker{worker(schema.Resting, "unauthorized", "401"), worker(schema.Probing, "unauthorized", "401")}},
			[]string{"every worker rests: nothing is polled (unauthorized): check the API token; at last: 401"}},
		"one rests": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working, worker(schema.Resting, "throttled", "")}},
			[]string{"1 of 2 workers rests (throttled) until 2026-03-01 14:00:00 UTC: wait, or set --max-polls-per-second"}},
		"all are refused": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{worker(schema.Resting, "refused", "404")}},
			[]string{"every worker rests: nothing is polled (refused): ElevateAI refuses every interaction; check --base-url and the account of the API token; at last: 404"}},
		"two rest": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working, worker(schema.Resting, "throttled", ""), worker(schema.Probing, "throttled", "")}},
			[]string{"2 of 3 workers rest (throttled) until 2026-03-01 14:00:00 UTC: wait, or set --max-polls-per-second"}},
		"they rest for different causes": {
			survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{worker(schema.Resting, "unavailable", "503"), worker(schema.Resting, "unauthorized", "")}},
			[]string{"1 of 2 workers rests (unauthorized): check the API token", "1 of 2 workers rests (unavailable) until 2026-03-01 14:00:00 UTC: polls go on when ElevateAI answers a probe; at last: 503"}},
		"a cause of another version": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working, worker(schema.Resting, "moon", "")}},
			[]string{"1 of 2 workers rests (moon)"}},
		"versions":   {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{newer, working, newer}}, []string{"workers differ in version: v1, v2"}},
		"budgets":    {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{budgeted, working}}, []string{"workers differ in --max-polls-per-second, and must not: 10, none"}},
		"unreadable": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working, unreadable}}, []string{"worker x1: its announcement has no state; is it of another version?"}},
		"overdue": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working}, Overdue: &survey.Overdue{Count: 1, FirstSeconds: 61}},
			[]string{"1 reservation is overdue, the first for 1m1s: the broker does not publish them, and their interactions are not polled; " + survey.FixOverdue}},
		"many overdue": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working}, Overdue: &survey.Overdue{Count: 100, More: true, FirstSeconds: 3600}},
			[]string{"100 or more reservations are overdue, the first for 1h0m0s: the broker does not publish them, and their interactions are not polled; " + survey.FixOverdue}},
		"none overdue": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working}, Overdue: &survey.Overdue{}}, nil},
		"intake": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working}, Intake: &survey.Intake{Waiting: 1, WaitingSeconds: 91}},
			[]string{"the intake is behind: 1 waits, the first for 1m31s"}},
		"a paused lane is not called behind as well": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working}, Lanes: []survey.Lane{{Type: schema.Audio, Due: 1200, DueSeconds: 190, PausedUntil: &noon}}},
			[]string{"lane audio is paused until 2026-03-01T12:00:00Z: none of it is polled; `nats consumer resume INTERACTIONS_POLLS poll-audio` ends that"}},
		"a paused intake": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working}, Intake: &survey.Intake{Waiting: 1, WaitingSeconds: 91, PausedUntil: &noon}},
			[]string{"the intake is paused until 2026-03-01T12:00:00Z: declared messages wait; `nats consumer resume INTERACTIONS_DECLARED intake` ends that"}},
		"a lane is behind": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{working}, Lanes: []survey.Lane{late}},
			[]string{"lane audio is behind: 1234 are due, the first for 3m10s; start more workers, or give them more --concurrency"}},
		"a lane is behind its budget": {survey.Survey{HoldBack: consumer.Reserve, Workers: []survey.Worker{budgeted}, Lanes: []survey.Lane{late}},
			[]string{"lane audio is behind: 1234 are due, the first for 3m10s; 9.0 of 10 polls/s are made: raise --max-polls-per-second, or use --stretch"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := survey.Advise(test.s); !slices.Equal(got, test.want) {
				t.Errorf("advice %q\nwant   %q", got, test.want)
			}
		})
	}
}
