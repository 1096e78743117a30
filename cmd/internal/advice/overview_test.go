package advice_test

import (
	"slices"
	"testing"
	"time"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
)

func TestOverview(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC)
	worker := func(state schema.WorkerState, cause, detail string) overview.Worker {
		w := overview.Worker{Announcement: schema.Announcement{Worker: "w", Host: "pod", Version: "v1", State: state, Cause: cause, Detail: detail, PollsPerSecond: 9}}
		if cause != "" {
			w.Until = &until
		}
		return w
	}
	working := worker(schema.Working, "", "")
	rateLimited := working
	rateLimited.RateLimit = 10
	newer := working
	newer.Version = "v2"
	unreadable := overview.Worker{Announcement: schema.Announcement{Worker: "x1"}, Problem: "its announcement has no state"}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	late := overview.Lane{Type: schema.Audio, Due: 1200, Out: 34, DueSeconds: 190}
	for name, test := range map[string]struct {
		s    overview.Overview
		want []string
	}{
		"all is well":           {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working, working}}, nil},
		"due, and not for long": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working}, Lanes: []overview.Lane{{Type: schema.Chat, Due: 5000, DueSeconds: 30}}}, nil},
		"nothing provisioned":   {overview.Overview{}, []string{"nothing is provisioned: run `statusworker provision` once, with the rights to create streams"}},
		"missing": {overview.Overview{Redelivery: consumer.Nak, Missing: []string{"stream A", "stream B"}, Workers: []overview.Worker{working}},
			[]string{"missing: stream A, stream B; run `statusworker provision --redelivery nak`"}},
		"nobody can announce itself": {overview.Overview{Redelivery: consumer.Schedule, Missing: []string{"stream " + schema.StreamWorkers}},
			[]string{"missing: stream " + schema.StreamWorkers + "; run `statusworker provision`"}},
		"no worker": {overview.Overview{Redelivery: consumer.Schedule, Lanes: []overview.Lane{late}},
			[]string{"no worker is alive: nothing is polled; start `statusworker run`"}},
		"all rest, and what waits because of it is not told again": {
			overview.Overview{Redelivery: consumer.Schedule, Lanes: []overview.Lane{late}, Workers: []overview.Worker{worker(schema.Paused, "unauthorized", "401"), worker(schema.Probing, "unauthorized", "401")}},
			[]string{"every worker paused: nothing is polled (unauthorized): check the API token; last: 401"}},
		"one rests": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working, worker(schema.Paused, "throttled", "")}},
			[]string{"1 of 2 workers paused (throttled) until 2026-03-01 14:00:00 UTC: wait, or set --max-polls-per-second"}},
		"all are refused": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{worker(schema.Paused, "refused", "404")}},
			[]string{"every worker paused: nothing is polled (refused): ElevateAI refuses every interaction; check --base-url and the account of the API token; last: 404"}},
		"two rest": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working, worker(schema.Paused, "throttled", ""), worker(schema.Probing, "throttled", "")}},
			[]string{"2 of 3 workers paused (throttled) until 2026-03-01 14:00:00 UTC: wait, or set --max-polls-per-second"}},
		"they rest for different causes": {
			overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{worker(schema.Paused, "unavailable", "503"), worker(schema.Paused, "unauthorized", "")}},
			[]string{"1 of 2 workers paused (unauthorized): check the API token", "1 of 2 workers paused (unavailable) until 2026-03-01 14:00:00 UTC: polls go on when ElevateAI answers a probe; last: 503"}},
		"a cause of another version": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working, worker(schema.Paused, "moon", "")}},
			[]string{"1 of 2 workers paused (moon)"}},
		"versions":   {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{newer, working, newer}}, []string{"workers differ in version: v1, v2"}},
		"budgets":    {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{rateLimited, working}}, []string{"workers differ in --max-polls-per-second, and must not: 10, none"}},
		"unreadable": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working, unreadable}}, []string{"worker x1: its announcement has no state; is it of another version?"}},
		"overdue": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working}, Overdue: &overview.Overdue{Count: 1, FirstSeconds: 61}},
			[]string{"1 reservation is overdue, the first for 1m1s: the broker does not publish them, and their interactions are not polled; " + advice.FixOverdue}},
		"many overdue": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working}, Overdue: &overview.Overdue{Count: 100, More: true, FirstSeconds: 3600}},
			[]string{"100 or more reservations are overdue, the first for 1h0m0s: the broker does not publish them, and their interactions are not polled; " + advice.FixOverdue}},
		"none overdue": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working}, Overdue: &overview.Overdue{}}, nil},
		"intake": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working}, Intake: &overview.Intake{Waiting: 1, WaitingSeconds: 91}},
			[]string{"the intake is behind: 1 waits, the first for 1m31s"}},
		"a paused lane is not called behind as well": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working}, Lanes: []overview.Lane{{Type: schema.Audio, Due: 1200, DueSeconds: 190, PausedUntil: &noon}}},
			[]string{"lane audio is paused until 2026-03-01T12:00:00Z: none of it is polled; `nats consumer resume INTERACTIONS_POLLS poll-audio` ends that"}},
		"a paused intake": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working}, Intake: &overview.Intake{Waiting: 1, WaitingSeconds: 91, PausedUntil: &noon}},
			[]string{"the intake is paused until 2026-03-01T12:00:00Z: declared messages wait; `nats consumer resume INTERACTIONS_DECLARED intake` ends that"}},
		"a lane is behind": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{working}, Lanes: []overview.Lane{late}},
			[]string{"lane audio is behind: 1234 are due, the first for 3m10s; start more workers, or give them more --concurrency"}},
		"a lane is behind its budget": {overview.Overview{Redelivery: consumer.Schedule, Workers: []overview.Worker{rateLimited}, Lanes: []overview.Lane{late}},
			[]string{"lane audio is behind: 1234 are due, the first for 3m10s; 9.0 of 10 polls/s are made: raise --max-polls-per-second, or use --stretch"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := advice.Overview(test.s); !slices.Equal(got, test.want) {
				t.Errorf("advice %q\nwant   %q", got, test.want)
			}
		})
	}
}
