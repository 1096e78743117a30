package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/embedded"
	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/terminal"
	"statusworker/consumer"
	"statusworker/consumer/overview"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// working starts a worker against a vendor, and waits until it works.
func working(t *testing.T, nats string, vendor *simulator.Simulator) *call {
	t.Helper()
	c := command(t, "run", "--nats-url", nats, "--base-url", vendor.URL(), "--audio-interval", "1s", "--chat-interval", "1s", "--transcript-interval", "1s")
	c.env["ELEVATEAI_API_TOKEN"] = simulator.DefaultToken
	c.start()
	c.stderr.wait(t, c.ctx, `"working"`)
	return c
}

func vendorOf(t *testing.T) *simulator.Simulator {
	t.Helper()
	v, err := simulator.Start(simulator.Config{Default: func(string) simulator.Script { return simulator.Never() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// workersOf waits until so many workers are seen.
func workersOf(t *testing.T, nats string, n int) overview.Overview {
	t.Helper()
	watch := command(t, "status", "--watch", "-o", "json", "--nats-url", nats).start()
	for seen := 0; ; seen++ {
		watch.stdout.next(t, watch.ctx, seen)
		var v overview.Overview
		if err := json.Unmarshal([]byte(watch.stdout.lines()[seen]), &v); err != nil {
			t.Fatal(err)
		}
		if len(v.Workers) == n {
			watch.stop()
			if code := watch.end(); code != exitOK {
				t.Fatalf("exit code %d after a stop, want 0: %s", code, &watch.stderr)
			}
			return v
		}
	}
}

func TestStatusOfThreeWorkersIsOneScreen(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			vendor := vendorOf(t)
			url, _ := provisioned(t, "--redelivery", mode, "--base-url", vendor.URL(), "--audio-interval", "1s", "--chat-interval", "1s", "--transcript-interval", "1s")
			for range 3 {
				working(t, url, vendor)
			}
			command(t, "declare", "--nats-url", url, "--type", "chat", uuid.NewString()).exits(exitOK)
			v := workersOf(t, url, 3)
			if string(v.Redelivery) != mode || v.Workers[0].Host != hostName() || v.Workers[0].Version != versionString() {
				t.Errorf("survey %+v", v)
			}
			c := command(t, "status", "--nats-url", url).exits(exitOK)
			lines := c.stdout.lines()
			if len(lines) > 24 {
				t.Errorf("%d lines, want at most 24", len(lines))
			}
			for _, line := range lines {
				if strings.Contains(line, "\x1b") || utf8.RuneCountInString(line) > 80 {
					t.Errorf("a line of %d columns: %q", utf8.RuneCountInString(line), line)
				}
			}
			says(t, "the table", &c.stdout, "redelivery "+mode, "redelivered", "deadline_exceeded", "working")
			if n := strings.Count(c.stdout.String(), "working"); n != 3 {
				t.Errorf("%d workers:\n%s", n, &c.stdout)
			}
		})
	}
}

func TestStatusWithoutWorkers(t *testing.T) {
	t.Parallel()
	url, _ := provisioned(t)
	command(t, "declare", "--nats-url", url, "--type", "chat", uuid.NewString()).exits(exitOK)
	c := command(t, "status", "--nats-url", url).exits(exitOK)
	says(t, "the table", &c.stdout, "no workers", "! no worker is alive: nothing is polled")
	c = command(t, "status", "-o", "json", "--nats-url", url).exits(exitOK)
	var v overview.Overview
	if err := json.Unmarshal([]byte(c.stdout.String()), &v); err != nil || len(c.stdout.lines()) != 1 || v.Intake.Waiting != 1 {
		t.Errorf("%v in %s", err, &c.stdout)
	}
}

// Where streams or consumers are missing, a look is no success: it says which, and what creates them.
func TestStatusOfWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		provision []string
		spoil     func(jetstream.JetStream) error
		want      []string
	}{
		"nothing provisioned": {want: []string{"nothing is provisioned", "`statusworker provision`"}},
		"no polls": {[]string{}, func(js jetstream.JetStream) error { return js.DeleteStream(t.Context(), schema.StreamPolls) },
			[]string{"stream " + schema.StreamPolls, "`statusworker provision`"}},
		"no consumer of a lane": {[]string{}, func(js jetstream.JetStream) error {
			return js.DeleteConsumer(t.Context(), schema.StreamPolls, schema.PollConsumer(schema.Chat))
		}, []string{"consumer " + schema.StreamPolls + "/" + schema.PollConsumer(schema.Chat), "`statusworker provision`"}},
		"no outcomes, with naks": {[]string{"--redelivery", "nak"}, func(js jetstream.JetStream) error { return js.DeleteStream(t.Context(), schema.StreamOutcomes) },
			[]string{"stream " + schema.StreamOutcomes, "`statusworker provision --redelivery nak`"}},
		"only outcomes": {[]string{}, func(js jetstream.JetStream) error {
			return errors.Join(js.DeleteStream(t.Context(), schema.StreamPolls), js.DeleteStream(t.Context(), schema.StreamDeclared), js.DeleteStream(t.Context(), schema.StreamWorkers))
		}, []string{"stream " + schema.StreamDeclared, "`statusworker provision`"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, js := broker(t)
			if test.provision != nil {
				command(t, append([]string{"provision", "--nats-url", s.URL()}, test.provision...)...).exits(exitOK)
				if err := test.spoil(js); err != nil {
					t.Fatal(err)
				}
			}
			table := command(t, "status", "--nats-url", s.URL()).exits(exitFault)
			object := command(t, "status", "-o", "json", "--nats-url", s.URL()).exits(exitFault)
			for _, c := range []*call{table, object} {
				says(t, "standard error", &c.stderr, test.want...)
				if n := len(c.stderr.lines()); n != 1 {
					t.Errorf("%d lines on standard error, want 1: %s", n, &c.stderr)
				}
			}
			var v overview.Overview
			if err := json.Unmarshal([]byte(object.stdout.String()), &v); err != nil || len(v.Missing) == 0 || len(v.Advice) == 0 {
				t.Errorf("%v in %s", err, &object.stdout)
			}
			says(t, "the table", &table.stdout, "! ")
			// A watch shows it and goes on, until all is there.
			watch := command(t, "status", "--watch", "-o", "json", "--nats-url", s.URL()).start()
			watch.stdout.wait(t, watch.ctx, `"missing"`)
			command(t, append([]string{"provision", "--nats-url", s.URL()}, test.provision...)...).exits(exitOK)
			watch.stdout.until(t, watch.ctx, "a survey of all", func(all string) bool {
				lines := strings.Split(strings.TrimSuffix(all, "\n"), "\n")
				return !strings.Contains(lines[len(lines)-1], `"missing"`)
			})
			watch.stop()
			if code := watch.end(); code != exitOK {
				t.Errorf("exit code %d after a stop, want 0", code)
			}
			command(t, "status", "--nats-url", s.URL()).exits(exitOK)
		})
	}
}

// What else could take an empty broker for a sound one.
func TestNothingProvisionedIsNoSuccess(t *testing.T) {
	t.Parallel()
	s, _ := broker(t)
	for name, c := range map[string]*call{
		"declare": command(t, "declare", "--type", "chat", uuid.NewString(), "--nats-url", s.URL()),
		"doctor":  command(t, "doctor", "--base-url", "http://127.0.0.1:1/v1", "--nats-url", s.URL()),
		"run":     worker(t, s.URL()),
	} {
		c.exits(exitFault)
		if all := c.stdout.String() + c.stderr.String(); !strings.Contains(all, "statusworker provision") {
			t.Errorf("%s does not name the command that creates the streams:\n%s", name, all)
		}
	}
}

func TestStatusDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	c := command(t, "status", "--timeout", "300ms", "--nats-url", nobody(t)).exits(exitFault)
	says(t, "standard error", &c.stderr, "waiting for NATS at nats://127.0.0.1:", "statusworker: no answer within 300ms (--timeout)", "no servers available")

	bad := bare(t, server.Options{}) // without JetStream
	c = command(t, "status", "--timeout", "300ms", "--nats-url", bad).exits(exitFault)
	says(t, "standard error", &c.stderr, "statusworker: no answer within 300ms (--timeout): waiting for JetStream")
}

func TestStatusStopsWhileItWaits(t *testing.T) {
	t.Parallel()
	c := command(t, "status", "--watch", "--nats-url", nobody(t)).start()
	c.stderr.wait(t, c.ctx, "waiting for NATS")
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0", code)
	}
}

func TestWatchSurvivesABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s, err := embedded.Start(folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	var port int
	if _, err := fmt.Sscanf(s.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	command(t, "provision", "--nats-url", s.URL()).exits(exitOK)
	tables := command(t, "status", "--watch", "--nats-url", s.URL()).start()
	objects := command(t, "status", "--watch", "-o", "json", "--nats-url", s.URL()).start()
	for _, c := range []*call{tables, objects} {
		c.stdout.wait(t, c.ctx, "transcript")
	}
	s.Stop()
	for _, c := range []*call{tables, objects} {
		c.stderr.wait(t, c.ctx, "the broker does not answer: waiting for it")
	}
	before := len(objects.stdout.lines())
	if s, err = embedded.Start(folder, port); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*call{tables, objects} {
		c.stdout.next(t, c.ctx, len(c.stdout.lines()))
		c.stop()
		if code := c.end(); code != exitOK {
			t.Errorf("exit code %d after a stop, want 0", code)
		}
		if n := strings.Count(c.stderr.String(), "the broker does not answer"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &c.stderr)
		}
	}
	if lines := objects.stdout.lines(); len(lines) <= before || !json.Valid([]byte(lines[len(lines)-1])) {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

// The rights are those that docs/contract.md lists for `statusworker status`.
func TestStatusRights(t *testing.T) {
	t.Parallel()
	rights := []string{
		"$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.INFO.*.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.KV_INTERACTIONS_WORKERS.>",
		"$JS.API.CONSUMER.CREATE.INTERACTIONS_OUTCOMES.>", "$JS.API.CONSUMER.DELETE.INTERACTIONS_OUTCOMES.*",
	}
	may := func(publish []string) *server.Permissions {
		return &server.Permissions{Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}
	}
	url := bare(t, server.Options{JetStream: true, StoreDir: t.TempDir(), Users: []*server.User{
		{Username: "all", Password: "s3cret"},
		{Username: "status", Password: "s3cret", Permissions: may(rights)},
		{Username: "less", Password: "s3cret", Permissions: may(rights[:4])},
	}})
	as := func(user string, args ...string) *call {
		c := command(t, append(args, "--nats-url", url, "--nats-user", user)...)
		c.env["NATS_PASSWORD"] = "s3cret"
		return c
	}
	as("all", "provision").exits(exitOK)
	// One of each that is read by a request of its own.
	js := connectTo(t, strings.Replace(url, "nats://", "nats://all:s3cret@", 1))
	for subject, data := range map[string]string{
		schema.PollSubject(schema.Audio, uuid.NewString()):      "{}",
		schema.FailedSubject(schema.NotFound, uuid.NewString()): "{}",
		schema.WorkerSubject("one"):                             `{"state":"working","host":"pod-one"}`,
		schema.DeclaredSubject(schema.Audio, uuid.NewString()):  "{}",
	} {
		if _, err := js.Publish(t.Context(), subject, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	c := as("status", "status").exits(exitOK)
	if strings.Contains(c.stderr.String(), "ermission") {
		t.Errorf("a right is missing: %s", &c.stderr)
	}
	says(t, "the table", &c.stdout, "pod-one", "audio              1 ", "intake             1 ", "not_found                     1 ")
	c = as("less", "status").exits(exitFault)
	says(t, "standard error", &c.stderr, "$JS.API.CONSUMER.CREATE.INTERACTIONS_OUTCOMES.", "docs/contract.md lists the permissions")
	if strings.Contains(c.stderr.String()+c.stdout.String(), "s3cret") {
		t.Errorf("the password is shown: %s%s", &c.stderr, &c.stdout)
	}
}

// crowded is an overview with so many workers, and texts that nobody would write.
func crowded(workers int, hold consumer.Mode) overview.Overview {
	n := uint64(1_234_567)
	long := strings.Repeat("wörter 世界 ", 20) + "\x1b[2J\u009b"
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	until := at.Add(100 * time.Second)
	s := overview.Overview{At: at, CountedAt: at.Add(-time.Minute), Redelivery: hold, Intake: &overview.Intake{Waiting: n, Out: 5000, WaitingSeconds: 90_000}}
	for _, t := range schema.Types() {
		s.Lanes = append(s.Lanes, overview.Lane{Type: t, Due: n, Out: 5000, Waiting: &n, DueSeconds: 3599, OldestSeconds: 86_400 * 30, Redelivered: 4999})
	}
	s.Outcomes.LastHour.Failed = map[schema.Reason]uint64{schema.FileDownloadFailed: 100_000_000}
	for i := range workers {
		w := overview.Worker{Announcement: schema.Announcement{Worker: long, Host: long, Version: long, State: schema.Paused, Cause: long, Until: &until, Detail: long, PollsPerSecond: 12345.678, RateLimit: 99999, Share: 33333.333}}
		switch i % 4 {
		case 1:
			w.State = schema.Probing
		case 2:
			w.State = schema.WorkerState(long)
		case 3:
			w = overview.Worker{Announcement: schema.Announcement{Worker: long}, Problem: long}
		}
		s.Workers = append(s.Workers, w)
	}
	s.Advice = overview.AdviceOn(s)
	return s
}

// usual is a stage with so many workers, of which the last ones keep away from the vendor, each for another cause.
func usual(workers, paused int) overview.Overview {
	at := time.Date(2026, 11, 24, 19, 58, 5, 0, time.UTC)
	count := func(n uint64) *uint64 { return &n }
	s := overview.Overview{At: at, CountedAt: at, Redelivery: consumer.Schedule, Waiting: count(590), Intake: &overview.Intake{}, Lanes: []overview.Lane{
		{Type: schema.Audio, Waiting: count(204)}, {Type: schema.Chat, Waiting: count(195), OldestSeconds: 13}, {Type: schema.Transcript, Waiting: count(191), OldestSeconds: 13},
	}}
	counts := overview.Counts{
		Processed: map[schema.Destination]uint64{schema.ToCXAI: 29, schema.Unrouted: 13},
		Failed:    map[schema.Reason]uint64{schema.InvalidMessage: 1, schema.ProcessingFailed: 1, schema.FileUploadFailed: 3, schema.FileDownloadFailed: 3, schema.Rejected: 1},
	}
	s.Outcomes = overview.Outcomes{LastHour: counts, Stored: counts}
	for i := range workers {
		s.Workers = append(s.Workers, overview.Worker{Announcement: schema.Announcement{
			Worker: fmt.Sprintf("w%05d", i), Host: fmt.Sprintf("statusworker-%d", i), Version: "v0.3.0", State: schema.Working, PollsPerSecond: 74.97}})
	}
	until := at.Add(time.Second)
	for i := range min(workers, paused) {
		w := &s.Workers[workers-1-i]
		w.State, w.Until = schema.Paused, &until
		w.Cause = []string{"unauthorized", "throttled", "unavailable"}[i%3]
		w.Detail = `the vendor answered 429 Too Many Requests for GET /v1/interactions/1a61163a-98e4-4564-b79a-8652d18846d4/status, Retry-After "1": "{\"message\":\"simulated: Too Many Requests\",\"statusCode\":429}"`
	}
	s.Advice = overview.AdviceOn(s)
	return s
}

func TestOverviewsFitTheTerminal(t *testing.T) {
	t.Parallel()
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak, ""} {
		for _, width := range []int{1, 20, 79, 80, 200} {
			for _, most := range []int{0, 1, 5, 23, 24, 60} {
				for _, workers := range []int{0, 1, 3, 40} {
					for _, v := range []statusView{{Overview: crowded(workers, mode)}, {Overview: crowded(workers, mode), stale: time.Now(), why: errors.New("away\x1b[2J " + strings.Repeat("long ", 50))}} {
						lines := drawStatus(v, width, most)
						if most > 0 && len(lines) > most {
							t.Fatalf("%d by %d: %d lines", width, most, len(lines))
						}
						for _, line := range lines {
							line = terminal.Unpainted(line)
							if n := utf8.RuneCountInString(line); n > width {
								t.Fatalf("%d by %d: a line of %d columns: %q", width, most, n, line)
							}
							if strings.ContainsAny(line, "\x1b\n\u009b世") {
								t.Fatalf("%d by %d: %q", width, most, line)
							}
						}
					}
				}
			}
		}
	}
}

// drawn is a picture without colours, as lines and as text whose lines are joined.
func drawn(v statusView, width, height int) (lines []string, joined string) {
	for _, line := range drawStatus(v, width, height-1) {
		lines = append(lines, strings.TrimRight(terminal.Unpainted(line), " "))
	}
	return lines, strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
}

// What needs an operator is on the screen first: the advice, a worker that rests, then the other workers, lanes, outcomes.
func TestStatusHasRoomForWhatMatters(t *testing.T) {
	t.Parallel()
	full := usual(3, 2)
	full.Outcomes.Stored.Failed, full.Outcomes.Stored.Processed = map[schema.Reason]uint64{}, map[schema.Destination]uint64{}
	for _, r := range schema.Reasons() {
		full.Outcomes.Stored.Failed[r] = 7
	}
	for _, d := range schema.Destinations() {
		full.Outcomes.Stored.Processed[d] = 7
	}
	many := usual(3, 2)
	many.Advice = append(many.Advice, strings.Repeat("a third that is long ", 10), "a fourth", "a fifth")
	type want struct{ workers, advice, whole, lanes, outcomes int }
	for _, test := range []struct {
		name          string
		s             overview.Overview
		width, height int
		want          want
	}{
		{"one worker", usual(1, 1), 80, 24, want{1, 1, 1, 4, 5}},
		{"the usual stage", usual(3, 2), 80, 24, want{3, 2, 2, 4, 2}},
		{"all is well", usual(3, 0), 80, 24, want{3, 0, 0, 4, 5}},
		{"all reasons have figures", full, 80, 24, want{3, 2, 2, 4, 2}},
		{"fifty workers", usual(50, 2), 80, 24, want{3, 2, 2, 4, 1}},
		{"fifty workers, and all is well", usual(50, 0), 80, 24, want{4, 0, 0, 4, 5}},
		{"a low terminal", usual(3, 2), 80, 20, want{3, 2, 2, 4, 0}},
		{"a low terminal, fifty workers", usual(50, 2), 80, 20, want{3, 2, 2, 4, 0}},
		{"a lower one", usual(3, 2), 80, 12, want{1, 2, 1, 0, 0}},
		{"the lowest", usual(50, 2), 80, 7, want{1, 2, 0, 0, 0}},
		{"a narrow terminal", usual(3, 2), 60, 24, want{3, 2, 0, 4, 0}},
		{"a narrow terminal, one worker", usual(1, 1), 60, 24, want{1, 1, 0, 4, 7}},
		{"a large terminal", usual(3, 2), 120, 40, want{3, 2, 2, 4, 5}},
		{"a large terminal, fifty workers", usual(50, 3), 120, 40, want{8, 3, 3, 4, 5}},
		{"five pieces of advice", many, 80, 24, want{3, 5, 5, 4, 0}},
		{"five pieces of advice, low", many, 80, 14, want{1, 5, 2, 0, 0}},
		{"five pieces of advice, lower", many, 80, 5, want{0, 2, 0, 0, 0}},
		{"five pieces of advice, large", many, 120, 40, want{3, 5, 5, 4, 5}},
	} {
		for _, stale := range []bool{false, true} {
			v := statusView{Overview: test.s}
			if stale {
				v.stale, v.why = test.s.At, errAway
			}
			lines, joined := drawn(v, test.width, test.height)
			var got want
			for _, w := range test.s.Workers {
				if strings.Contains(joined, w.Worker) {
					got.workers++
				}
			}
			for _, a := range test.s.Advice {
				if strings.Contains(joined, "! "+a[:min(8, len(a))]) {
					got.advice++
				}
				if strings.Contains(joined, "! "+strings.Join(strings.Fields(a), " ")) {
					got.whole++
				}
			}
			for _, line := range lines {
				first, _, _ := strings.Cut(line, " ")
				switch {
				case first == "all" || schema.Type(first).Valid() && strings.HasSuffix(line, " 0"):
					got.lanes++
				case strings.HasPrefix(line, "cxai"), strings.HasPrefix(line, "unrouted"), strings.HasPrefix(line, "transcript") && strings.Contains(line, "7"),
					strings.HasPrefix(line, strings.Repeat(" ", 20)), slices.Contains(schema.Reasons(), schema.Reason(first)):
					got.outcomes++
				}
			}
			name := fmt.Sprintf("%s, %d by %d, stale %t", test.name, test.width, test.height, stale)
			if len(lines) > test.height-1 || !strings.HasPrefix(lines[0], "statusworker status") || strings.HasPrefix(lines[1], "STALE since") != stale {
				t.Errorf("%s: %d lines:\n%s", name, len(lines), strings.Join(lines, "\n"))
			}
			w := test.want
			if stale { // takes a line from what has room last
				if got.workers < min(w.workers, 1) || got.advice < w.advice || got.outcomes < w.outcomes-2 || got.lanes < min(w.lanes, 1) {
					t.Errorf("%s: shown %+v, want %+v or little less:\n%s", name, got, w, strings.Join(lines, "\n"))
				}
			} else if got != w {
				t.Errorf("%s: shown %+v, want %+v:\n%s", name, got, w, strings.Join(lines, "\n"))
			}
			for _, worker := range test.s.Workers {
				if worker.State == schema.Paused && got.workers >= 3 && !strings.Contains(joined, worker.Worker) {
					t.Errorf("%s: worker %s rests and is not shown:\n%s", name, worker.Worker, strings.Join(lines, "\n"))
				}
			}
			if got.workers == 1 && len(test.s.Workers) > 1 && !strings.Contains(joined, "paused") {
				t.Errorf("%s: a worker that works is shown, and none that rests:\n%s", name, strings.Join(lines, "\n"))
			}
			if hidden := len(test.s.Workers) - got.workers; hidden > 0 && got.workers > 0 && !strings.Contains(joined, fmt.Sprintf("and %d more", hidden)) {
				t.Errorf("%s: %d workers are left out, unsaid:\n%s", name, hidden, strings.Join(lines, "\n"))
			}
		}
	}
}

// Rows without figures are named and not shown, however much room there is.
func TestStatusNamesWhatHasNoFigures(t *testing.T) {
	t.Parallel()
	var none []string
	stored := usual(3, 0).Outcomes.Stored
	for _, d := range schema.Destinations() {
		if stored.Processed[d] == 0 {
			none = append(none, string(d))
		}
	}
	for _, r := range schema.Reasons() {
		if stored.Failed[r] == 0 {
			none = append(none, string(r))
		}
	}
	for _, size := range [][2]int{{80, 25}, {120, 60}, {60, 60}} {
		_, joined := drawn(statusView{Overview: usual(3, 0)}, size[0], size[1])
		for _, want := range []string{"none: intake", "none: " + strings.Join(none, ", ")} {
			if !strings.Contains(joined, want) {
				t.Errorf("%v: no %q in %s", size, want, joined)
			}
		}
		_, joined = drawn(statusView{Overview: overview.Overview{Redelivery: consumer.Nak, Lanes: []overview.Lane{{Type: schema.Audio}, {Type: schema.Chat}, {Type: schema.Transcript, Due: 1}}}}, size[0], size[1])
		if !strings.Contains(joined, "none: audio, chat") || !strings.Contains(joined, "no workers") {
			t.Errorf("%v: with naks %s", size, joined)
		}
	}
	const most = 250_000
	all, nothing := uint64(most), uint64(0)
	paused := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for name, s := range map[string]overview.Overview{
		"lanes that were not counted": {Redelivery: consumer.Schedule, Waiting: &all, Lanes: []overview.Lane{{Type: schema.Audio}}},
		"a lane that is paused":       {Redelivery: consumer.Schedule, Waiting: &nothing, Lanes: []overview.Lane{{Type: schema.Audio, Waiting: &nothing, PausedUntil: &paused}}},
		"a lane that is old":          {Redelivery: consumer.Schedule, Waiting: &nothing, Lanes: []overview.Lane{{Type: schema.Audio, Waiting: &nothing, OldestSeconds: 1}}},
	} {
		if lines, joined := drawn(statusView{Overview: s}, 80, 60); strings.Contains(joined, "none: audio") || !strings.Contains(joined, " audio 0 0 ") {
			t.Errorf("%s is not shown:\n%s", name, strings.Join(lines, "\n"))
		}
	}
	if lines, _ := drawn(statusView{Overview: overview.Overview{Advice: overview.AdviceOn(overview.Overview{}), Lanes: []overview.Lane{{Type: schema.Audio}}}}, 80, 24); len(lines) != 4 || !strings.HasPrefix(lines[2], "! nothing is provisioned") {
		t.Errorf("without streams there are zeros:\n%s", strings.Join(lines, "\n"))
	}
}

func TestStaleOverviewsSaySo(t *testing.T) {
	t.Parallel()
	v := statusView{Overview: crowded(1, consumer.Schedule), stale: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), why: errAway}
	if line := terminal.Unpainted(drawStatus(v, 80, 0)[1]); line != "STALE since 12:00:00: no connection to NATS" {
		t.Errorf("%q", line)
	}
}

func TestShortAges(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{
		0: "-", 0.4: "0s", 59.9: "59s", 60: "1m00s", 3599: "59m59s", 3600: "1h00m", 86_400: "24h00m", 172_800: "2d00h", 1e6: "11d13h",
	} {
		if got := short(seconds); got != want {
			t.Errorf("%v s is %q, want %q", seconds, got, want)
		}
	}
}

func TestWatchDrawsInPlace(t *testing.T) {
	t.Parallel()
	var shown, rest output
	log := logrus.New()
	s := newStatusScreen(cli.Process{Stdout: &shown, Stderr: &rest, Getenv: func(name string) string { return map[string]string{"NO_COLOR": "1"}[name] }}, log)
	for range 2 {
		if err := s.show(statusView{Overview: crowded(1, consumer.Schedule)}); err != nil {
			t.Fatal(err)
		}
	}
	s.end()
	all := shown.String()
	first, second, ok := strings.Cut(all, "\x1b[J")
	if !ok || !strings.HasPrefix(first, terminal.HideCursor+"statusworker status") || !strings.HasPrefix(second, fmt.Sprintf("\x1b[%dA\r", strings.Count(first, "\n"))) || !strings.HasSuffix(second, terminal.ShowCursor) {
		t.Errorf("drawn:\n%q", all)
	}
	if terminal.Unpainted(all) != all {
		t.Errorf("colours, where NO_COLOR is set:\n%q", all)
	}
}
