package statusview

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/internal/terminal"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
)

// crowded returns an overview with large numbers, and with texts that could break the layout.
func crowded(workers int, mode consumer.Mode) overview.Overview {
	n := uint64(1_234_567)
	long := strings.Repeat("wörter 世界 ", 20) + "\x1b[2J\u009b"
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	until := at.Add(100 * time.Second)
	s := overview.Overview{At: at, CountedAt: at.Add(-time.Minute), Redelivery: mode,
		Intake: &overview.Intake{Waiting: n, Unacked: 5000, WaitingSeconds: 90_000}}
	for _, t := range schema.Types() {
		s.Lanes = append(s.Lanes, overview.Lane{Type: t, Due: n, Unacked: 5000, Waiting: &n, DueSeconds: 3599,
			OldestSeconds: 86_400 * 30, Redelivered: 4999})
	}
	s.Outcomes.LastHour.Failed = map[schema.Reason]uint64{schema.FileDownloadFailed: 100_000_000}
	for i := range workers {
		w := overview.Worker{Announcement: schema.Announcement{Worker: long, Host: long, Version: long,
			State: schema.Paused, Cause: long, Until: &until, Detail: long, PollsPerSecond: 12345.678, RateLimit: 99999,
			Share: 33333.333}}
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
	s.Advice = advice.Overview(s)
	return s
}

// usual returns an ordinary overview. The last workers are paused, each for another cause.
func usual(workers, paused int) overview.Overview {
	at := time.Date(2026, 11, 24, 19, 58, 5, 0, time.UTC)
	count := func(n uint64) *uint64 { return &n }
	s := overview.Overview{At: at, CountedAt: at, Redelivery: consumer.Schedule, Waiting: count(590),
		Intake: &overview.Intake{}, Lanes: []overview.Lane{
			{Type: schema.Audio, Waiting: count(204)}, {Type: schema.Chat, Waiting: count(195),
				OldestSeconds: 13}, {Type: schema.Transcript, Waiting: count(191), OldestSeconds: 13},
		}}
	counts := overview.Counts{
		Processed: map[schema.Destination]uint64{schema.ToCXAI: 29, schema.Unrouted: 13},
		Failed: map[schema.Reason]uint64{schema.InvalidMessage: 1, schema.ProcessingFailed: 1,
			schema.FileUploadFailed: 3, schema.FileDownloadFailed: 3, schema.Rejected: 1},
	}
	s.Outcomes = overview.Outcomes{LastHour: counts, Stored: counts}
	for i := range workers {
		s.Workers = append(s.Workers, overview.Worker{Announcement: schema.Announcement{
			Worker: fmt.Sprintf("w%05d", i), Host: fmt.Sprintf("statusworker-%d",
				i), Version: "v0.3.0", State: schema.Working, PollsPerSecond: 74.97}})
	}
	until := at.Add(time.Second)
	for i := range min(workers, paused) {
		w := &s.Workers[workers-1-i]
		w.State, w.Until = schema.Paused, &until
		w.Cause = []string{"unauthorized", "throttled", "unavailable"}[i%3]
		w.Detail = `ElevateAI answered 429 Too Many Requests for GET ` +
			`/v1/interactions/1a61163a-98e4-4564-b79a-8652d18846d4/status, Retry-After "1": ` +
			"`" + `{"message":"simulated: Too Many Requests","statusCode":429}` + "`"
	}
	s.Advice = advice.Overview(s)
	return s
}

func TestOverviewsFitTheTerminal(t *testing.T) {
	t.Parallel()
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak, ""} {
		for _, width := range []int{1, 20, 79, 80, 200} {
			for _, most := range []int{0, 1, 5, 23, 24, 60} {
				for _, workers := range []int{0, 1, 3, 40} {
					for _, v := range []View{{Overview: crowded(workers, mode)},
						{Overview: crowded(workers, mode), Stale: time.Now(),
							Why: errors.New("away\x1b[2J " + strings.Repeat("long ", 50))}} {
						lines := Draw(v, width, most)
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

// drawn returns a view without colours, as lines and as one joined text.
func drawn(v View, width, height int) (lines []string, joined string) {
	for _, line := range Draw(v, width, height-1) {
		lines = append(lines, strings.TrimRight(terminal.Unpainted(line), " "))
	}
	return lines, strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
}

// Advice and a paused worker have priority over other workers, lanes and outcomes.
func TestPrioritiesOnSmallTerminals(t *testing.T) {
	t.Parallel()
	full := usual(3, 2)
	full.Outcomes.Stored.Failed, full.Outcomes.Stored.Processed = map[schema.Reason]uint64{},
		map[schema.Destination]uint64{}
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
		{"three workers", usual(3, 2), 80, 24, want{3, 2, 2, 4, 2}},
		{"three working workers", usual(3, 0), 80, 24, want{3, 0, 0, 4, 5}},
		{"all reasons have figures", full, 80, 24, want{3, 2, 2, 4, 2}},
		{"fifty workers", usual(50, 2), 80, 24, want{3, 2, 2, 4, 1}},
		{"fifty working workers", usual(50, 0), 80, 24, want{4, 0, 0, 4, 5}},
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
			v := View{Overview: test.s}
			if stale {
				v.Stale, v.Why = test.s.At, errors.New("no connection to NATS")
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
				case strings.HasPrefix(line, "cxai"), strings.HasPrefix(line, "unrouted"), strings.HasPrefix(line,
					"transcript") && strings.Contains(line, "7"),
					strings.HasPrefix(line, strings.Repeat(" ", 20)), slices.Contains(schema.Reasons(),
						schema.Reason(first)):
					got.outcomes++
				}
			}
			name := fmt.Sprintf("%s, %d by %d, stale %t", test.name, test.width, test.height, stale)
			if len(lines) > test.height-1 || !strings.HasPrefix(lines[0], "statusworker status") ||
				strings.HasPrefix(lines[1], "STALE since") != stale {
				t.Errorf("%s: %d lines:\n%s", name, len(lines), strings.Join(lines, "\n"))
			}
			w := test.want
			if stale { // takes a line from the part with the lowest priority
				if got.workers < min(w.workers, 1) || got.advice < w.advice || got.outcomes < w.outcomes-2 ||
					got.lanes < min(w.lanes, 1) {
					t.Errorf("%s: shown %+v, want %+v or slightly less:\n%s", name, got, w, strings.Join(lines, "\n"))
				}
			} else if got != w {
				t.Errorf("%s: shown %+v, want %+v:\n%s", name, got, w, strings.Join(lines, "\n"))
			}
			for _, worker := range test.s.Workers {
				if worker.State == schema.Paused && got.workers >= 3 && !strings.Contains(joined, worker.Worker) {
					t.Errorf("%s: worker %s is paused and not shown:\n%s", name, worker.Worker,
						strings.Join(lines, "\n"))
				}
			}
			if got.workers == 1 && len(test.s.Workers) > 1 && !strings.Contains(joined, "paused") {
				t.Errorf("%s: a working worker is shown instead of a paused one:\n%s", name, strings.Join(lines, "\n"))
			}
			if hidden := len(test.s.Workers) - got.workers; hidden > 0 && got.workers > 0 && !strings.Contains(joined,
				fmt.Sprintf("and %d more", hidden)) {
				t.Errorf("%s: the number of hidden workers, %d, is not shown:\n%s", name, hidden,
					strings.Join(lines, "\n"))
			}
		}
	}
}

// Rows without figures are only named.
func TestRowsWithoutFiguresAreNamed(t *testing.T) {
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
		_, joined := drawn(View{Overview: usual(3, 0)}, size[0], size[1])
		for _, want := range []string{"zero: intake", "zero: " + strings.Join(none, ", ")} {
			if !strings.Contains(joined, want) {
				t.Errorf("%v: no %q in %s", size, want, joined)
			}
		}
		_, joined = drawn(View{Overview: overview.Overview{Redelivery: consumer.Nak,
			Lanes: []overview.Lane{{Type: schema.Audio}, {Type: schema.Chat},
				{Type: schema.Transcript, Due: 1}}}}, size[0], size[1])
		if !strings.Contains(joined, "zero: audio, chat") || !strings.Contains(joined, "no workers") {
			t.Errorf("%v: with delayed naks %s", size, joined)
		}
	}
	const most = 250_000
	all, nothing := uint64(most), uint64(0)
	paused := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for name, s := range map[string]overview.Overview{
		"lanes that were not counted": {Redelivery: consumer.Schedule, Waiting: &all,
			Lanes: []overview.Lane{{Type: schema.Audio}}},
		"a paused consumer": {Redelivery: consumer.Schedule, Waiting: &nothing,
			Lanes: []overview.Lane{{Type: schema.Audio, Waiting: &nothing, PausedUntil: &paused}}},
		"a lane with an old interaction": {Redelivery: consumer.Schedule, Waiting: &nothing,
			Lanes: []overview.Lane{{Type: schema.Audio, Waiting: &nothing, OldestSeconds: 1}}},
	} {
		if lines, joined := drawn(View{Overview: s}, 80, 60); strings.Contains(joined, "zero: audio") ||
			!strings.Contains(joined, " audio 0 0 ") {
			t.Errorf("%s is not shown:\n%s", name, strings.Join(lines, "\n"))
		}
	}
	if lines, _ := drawn(View{Overview: overview.Overview{Advice: advice.Overview(overview.Overview{}),
		Lanes: []overview.Lane{{Type: schema.Audio}}}}, 80, 24); len(lines) != 4 ||
		!strings.HasPrefix(lines[2], "! nothing is provisioned") {
		t.Errorf("there are figures without streams:\n%s", strings.Join(lines, "\n"))
	}
}

// Consumers of outcomes that have read all are only named. Those that will miss some come first on a small terminal.
func TestConsumersOfOutcomes(t *testing.T) {
	t.Parallel()
	s := usual(1, 0)
	for n := range 8 {
		s.Consumers = append(s.Consumers, overview.Consumer{Name: fmt.Sprintf("consumer-%d", n), Unread: uint64(n)})
	}
	s.Consumers[6].OldestSeconds, s.Consumers[6].MaxAgeSeconds = 60, 1000
	s.Consumers[7].OldestSeconds, s.Consumers[7].MaxAgeSeconds = 800, 1000
	lines, joined := drawn(View{Overview: s}, 80, 60)
	const late = "consumer-7 7 0 13m20s 3m20s"
	for _, want := range []string{"consumer-1 1 0 - -", "consumer-6 6 0 1m00s 15m40s", late, "zero: consumer-0"} {
		if !strings.Contains(joined, want) {
			t.Errorf("no %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
	for height := 60; height > 5; height-- {
		lines, joined := drawn(View{Overview: s}, 80, height)
		if strings.Contains(joined, "consumer of outcomes") && !strings.Contains(joined, late) {
			t.Errorf("%d lines: others are shown instead of the one that will miss outcomes:\n%s", height,
				strings.Join(lines, "\n"))
		}
	}
}

func TestStaleOverviewsAreMarked(t *testing.T) {
	t.Parallel()
	v := View{Overview: crowded(1, consumer.Schedule), Stale: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		Why: errors.New("no connection to NATS")}
	if line := terminal.Unpainted(Draw(v, 80, 0)[1]); line != "STALE since 12:00:00: no connection to NATS" {
		t.Errorf("%q", line)
	}
}

func TestShortAges(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{
		0: "-", 0.4: "0s", 59.9: "59s", 60: "1m00s", 3599: "59m59s", 3600: "1h00m", 86_400: "24h00m", 172_800: "2d00h",
		1e6: "11d13h",
	} {
		if got := short(seconds); got != want {
			t.Errorf("%v s is %q, want %q", seconds, got, want)
		}
	}
}
