package advice_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// sentences have the values that each sentence must contain.
type sentences [][]string

// say reports whether there are as many sentences as lists of values, and each sentence has its values.
func say(sentences []string, want sentences) bool {
	return slices.EqualFunc(sentences, want, func(sentence string, values []string) bool {
		return !slices.ContainsFunc(values, func(v string) bool { return !strings.Contains(sentence, v) })
	})
}

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	until = noon.Add(2 * time.Hour)
)

func worker(state schema.WorkerState, cause, detail string) overview.Worker {
	w := overview.Worker{Announcement: schema.Announcement{
		Worker: "w", Host: "pod", Version: "v1", State: state, Cause: cause, Detail: detail, PollsPerSecond: 9,
	}}
	if cause != "" {
		w.Until = &until
	}
	return w
}

func TestOverview(t *testing.T) {
	t.Parallel()
	working := worker(schema.Working, "", "")
	limited, newer := working, working
	limited.RateLimit, newer.Version = 10, "v2"
	unreadable := overview.Worker{Announcement: schema.Announcement{Worker: "x1"}, Problem: "no state"}
	late := overview.Lane{Type: schema.Audio, Due: 1200, Unacked: 34, DueSeconds: 190}
	young := overview.Lane{Type: schema.Chat, Due: 5000, DueSeconds: 30}
	pausedLane := late
	pausedLane.PausedUntil = &noon
	with := func(workers ...overview.Worker) overview.Overview {
		return overview.Overview{At: noon, Redelivery: consumer.Schedule, Workers: workers}
	}
	lanes := func(o overview.Overview, lanes ...overview.Lane) overview.Overview {
		o.Lanes = lanes
		return o
	}
	overdue := func(d overview.Overdue) overview.Overview {
		o := with(working)
		o.Overdue = &d
		return o
	}
	intake := func(i overview.Intake) overview.Overview {
		o := with(working)
		o.Intake = &i
		return o
	}
	consumers := func(all ...overview.Consumer) overview.Overview {
		o := with(working)
		o.Consumers = all
		return o
	}
	throttled := worker(schema.Paused, "throttled", "")
	unauthorized := worker(schema.Paused, "unauthorized", "401")
	probing := worker(schema.Probing, "unavailable", "503")
	probing.Until = &noon
	denied := with(working)
	denied.Denied = []string{"$JS.API.X"}
	noBucket, missing := with(), with(working)
	noBucket.Missing = []string{"stream " + ns.StreamWorkers()}
	missing.Redelivery, missing.Missing = consumer.Nak, []string{"stream A", "stream B"}
	for name, test := range map[string]struct {
		overview overview.Overview
		want     sentences
	}{
		"no problem":           {with(working, working), nil},
		"due for a short time": {lanes(with(working), young), nil},
		"not provisioned":      {overview.Overview{}, sentences{{"not", "`statusworker provision`"}}},
		"missing":              {missing, sentences{{"stream A, stream B", "provision --redelivery nak`"}}},
		"no workers' bucket":   {noBucket, sentences{{ns.StreamWorkers(), "`statusworker provision`"}}},
		"no worker":            {lanes(with(), late), sentences{{"no worker", "`statusworker run`"}}},
		"paused for one cause": {with(working, throttled),
			sentences{{"1 of 2", "throttled", "2026-03-01 14:00:00 UTC", "--max-polls-per-second"}}},
		"a cause of another version": {with(working, worker(schema.Paused, "moon", "")),
			sentences{{"1 of 2", "moon"}}},
		"every interaction is refused": {with(worker(schema.Paused, "refused", "404")),
			sentences{{"all", "refused", "--base-url", "404"}}},
		"all paused, so no lane is behind": {
			lanes(with(unauthorized, worker(schema.Probing, "unauthorized", "")), late),
			sentences{{"all", "unauthorized", "API token", "401"}}},
		"probing":     {with(working, probing), sentences{{"1 of 2 workers probing (unavailable): ", "503"}}},
		"all probing": {with(probing), sentences{{"all", "probing (unavailable): ", "503"}}},
		"two of three paused": {
			with(working, throttled, worker(schema.Probing, "throttled", "")),
			sentences{{"2 of 3", "throttled"}}},
		"paused for different causes": {
			with(worker(schema.Paused, "unavailable", "503"), unauthorized),
			sentences{{"1 of 2", "unauthorized"}, {"1 of 2", "unavailable", "503"}}},
		"different versions":    {with(newer, working, newer), sentences{{"versions", "v1, v2", "upgrade"}}},
		"different rate limits": {with(limited, working), sentences{{"--max-polls-per-second", "10, none"}}},
		"unreadable":            {with(working, unreadable), sentences{{"x1", "no state"}}},
		"one overdue": {overdue(overview.Overdue{Count: 1, FirstSeconds: 61}),
			sentences{{"1 reservation ", "1m1s", advice.FixOverdue(ns)}}},
		"many overdue": {overdue(overview.Overdue{Count: 100, More: true, FirstSeconds: 3600}),
			sentences{{"100 or more", "1h0m0s"}}},
		"none overdue": {overdue(overview.Overdue{}), nil},
		"the intake is behind": {intake(overview.Intake{Waiting: 1, WaitingSeconds: 91}),
			sentences{{"intake", "1 declared message ", "1m31s", "`statusworker doctor`"}}},
		"a lane with a paused consumer is not behind": {lanes(with(working), pausedLane),
			sentences{{
				"audio", "2026-03-01T12:00:00Z",
				"`" + advice.NATS(ns) + "consumer resume INTERACTIONS_POLLS poll-audio`",
			}}},
		"no room for reservations": {intake(overview.Intake{Waiting: 1, WaitingSeconds: 91, NoRoom: true}),
			sentences{{ns.StreamPolls(), "1 declared message ", "--update --polls-max-bytes"}}},
		"a paused intake": {intake(overview.Intake{Waiting: 1, WaitingSeconds: 91, PausedUntil: &noon}),
			sentences{{
				"intake", "2026-03-01T12:00:00Z",
				"`" + advice.NATS(ns) + "consumer resume INTERACTIONS_DECLARED intake`",
			}}},
		"consumers of outcomes that keep up": {consumers(
			overview.Consumer{Name: "a", Unread: 7, OldestSeconds: 750, MaxAgeSeconds: 1000},
			overview.Consumer{Name: "no-expiry", Unread: 7, OldestSeconds: 1e9}), nil},
		"may not list consumers of outcomes": {denied, sentences{{"$JS.API.X", "docs/permissions.md"}}},
		"consumers of outcomes that are behind": {
			consumers(overview.Consumer{Name: "a", Unread: 1, OldestSeconds: 800, MaxAgeSeconds: 1000},
				overview.Consumer{Name: "b", Unread: 7, OldestSeconds: 1001, MaxAgeSeconds: 1000, PausedUntil: &noon}),
			sentences{{`"a"`, "1 outcome,", "3m20s", "start", "--max-age"},
				{`"b"`, "7 outcomes,", "0s", "2026-03-01T12:00:00Z", "--max-age"}}},
		"a lane is behind": {lanes(with(working), late), sentences{{"audio", "1234", "3m10s", "--concurrency"}}},
		"a lane is behind, at the rate limit": {lanes(with(limited), late),
			sentences{{"audio", "1234", "9.0 of 10", "--max-polls-per-second", "--stretch"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := advice.Overview(test.overview); !say(got, test.want) {
				t.Errorf("advice %q, want sentences with %q", got, test.want)
			}
		})
	}
}
