//go:build !nodev

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/terminal"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

func TestDevRunsToItsEnd(t *testing.T) {
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := command(t, "dev", "--speed", "40", "--count", "10", "--redelivery", mode)
			began := time.Now()
			c.exits(exitOK)
			t.Logf("%s after %s", mode, time.Since(began))
			for _, d := range schema.Destinations() {
				says(t, "the summary", &c.stdout, schema.ProcessedSubject(d, "*"))
			}
			for _, r := range schema.Reasons() {
				says(t, "the summary", &c.stdout, schema.FailedSubject(r, "*"))
				if r != schema.InternalError { // no vendor and no producer can bring that about
					says(t, "the summary", &c.stdout, "  "+string(r)+"\n")
				}
			}
			all := fmt.Sprintf("%d interactions", len(newCast(10)))
			says(t, "the summary", &c.stdout, "redelivery "+mode+", speed 40, "+all, all+", 1 of them declared twice",
				"missing 0, doubled 0, not expected 0, polled too early 0: as it must be")
			for _, line := range c.stdout.lines() {
				if strings.Contains(line, "\x1b") {
					t.Errorf("terminal control where there is no terminal: %q", line)
				}
			}
		})
	}
}

func TestDevStopsAtOnce(t *testing.T) {
	t.Parallel()
	c := command(t, "dev").start()
	c.stdout.wait(t, c.ctx, "invalid_message")
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0:\n%s", code, &c.stderr)
	}
	if lines := c.stdout.lines(); lines[len(lines)-1] != "stopped" {
		t.Errorf("the last line is %q, want stopped", lines[len(lines)-1])
	}
}

func TestDevKeepsGoing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	c := command(t, "dev", "--speed", "50", "--count", "0", "--keep")
	c.env["TMPDIR"] = folder
	c.start()
	c.stdout.wait(t, c.ctx, "Broker, vendor and worker go on")
	c.stdout.wait(t, c.ctx, "statusworker declare --nats-url ")
	_, line, _ := strings.Cut(c.stdout.String(), "  statusworker declare ")
	line, _, _ = strings.Cut(line, "\n")
	args := append([]string{"declare"}, strings.Fields(line)...)
	command(t, args...).exits(exitOK)
	c.stdout.wait(t, c.ctx, schema.ProcessedSubject(schema.ToCXAI, args[len(args)-1]))
	if here, err := os.ReadDir(folder); err != nil || len(here) != 1 {
		t.Errorf("%v (%v) in the folder for temporary files, want the broker's", here, err)
	}
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0:\n%s", code, &c.stderr)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("%v (%v) is left behind", left, err)
	}
}

// A worker that is gone, or does something twice, must not go unnoticed.
func TestJudgement(t *testing.T) {
	audio := newPart(schema.Audio, "", simulator.Script{}).processed()
	chat := newPart(schema.Chat, "", simulator.Script{}).failed(schema.NotFound)
	interval := consumer.Intervals{Audio: time.Second, Chat: time.Second / 2, Transcript: time.Second / 2}
	began := time.Now()
	land := func(subjects ...string) (landed []landing) {
		for _, s := range subjects {
			kind, id, _ := schema.SplitSubject(s)
			l := landing{subject: s, identifier: id}
			if strings.HasPrefix(s, "interactions.failed.") {
				l.reason = schema.Reason(kind)
			}
			landed = append(landed, l)
		}
		return landed
	}
	poll := func(id string, after time.Duration) simulator.Poll {
		return simulator.Poll{Identifier: id, At: began.Add(after)}
	}
	good := append(append([]string(nil), audio.want...), chat.want...)
	polite := []simulator.Poll{
		poll(audio.identifier, 0), poll(chat.identifier, time.Second/4), poll(chat.identifier, 3*time.Second/4), poll(audio.identifier, time.Second),
	}
	for _, test := range []struct {
		name   string
		landed []landing
		polls  []simulator.Poll
		want   string
	}{
		{"as it must be", land(good...), polite, ""},
		{"nothing", nil, nil, "3 missing, the first: " + audio.want[0]},
		{"half an outcome", land(good[1:]...), polite, "1 missing, the first: " + audio.want[0]},
		{"twice", land(append(good, chat.want[0])...), polite, "1 stored more than once, the first: " + chat.want[0] + " (2 times)"},
		{"a contradiction", land(append(good, schema.ProcessedSubject(schema.ToCXAI, chat.identifier))...), polite, "1 not expected"},
		{"another reason", land(audio.want[0], audio.want[1], schema.FailedSubject(schema.Rejected, chat.identifier)), polite, "1 missing"},
		{"a stranger", land(append(good, schema.FailedSubject(schema.NotFound, "x"))...), polite, "1 not expected"},
		{"too early", land(good...), append(polite, poll(audio.identifier, 1999*time.Millisecond)), "1 impolite, the first: " + audio.identifier + " was asked for twice within 999ms, the guidance is 1s"},
		{"polled together", land(good...), append(polite, poll(chat.identifier, time.Second/4)), "1 impolite"},
		{"a poll of a stranger", land(good...), append(polite, poll("x", 0)), "1 not expected, the first: a poll of x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := judgeDev([]part{audio, chat}, test.landed, test.polls, interval)
			switch err := r.verdict(); {
			case test.want == "" && err != nil:
				t.Errorf("verdict %v, want none", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("verdict %v, want %q in it", err, test.want)
			}
			var told output
			r.write(&told, 80)
			if clean := strings.Contains(told.String(), "as it must be"); clean != (test.want == "") {
				t.Errorf("the summary contradicts the verdict:\n%s", &told)
			}
			for _, line := range told.lines() {
				if utf8.RuneCountInString(line) > 80 {
					t.Errorf("a line of the summary is too wide: %q", line)
				}
			}
		})
	}
	if r := (devReport{waiting: true}); r.verdict() == nil {
		t.Error("streams that do not run empty are no fault")
	}
}

func TestTheCastShowsEverything(t *testing.T) {
	cast := newCast(100)
	subjects := map[string]int{}
	identifiers := map[string]bool{}
	types := map[schema.Type]int{}
	for _, one := range cast {
		if identifiers[one.identifier] {
			t.Errorf("%s is there twice", one.identifier)
		}
		identifiers[one.identifier] = true
		types[one.typ]++
		for _, s := range one.want {
			subjects[pattern(s)]++
		}
	}
	for _, d := range schema.Destinations() {
		if subjects[schema.ProcessedSubject(d, "*")] == 0 {
			t.Errorf("nobody is for %s", d)
		}
	}
	for _, r := range schema.Reasons() {
		if subjects[schema.FailedSubject(r, "*")] == 0 && r != schema.InternalError {
			t.Errorf("nobody fails as %s", r)
		}
	}
	if len(types) != len(schema.Types()) {
		t.Errorf("types %v", types)
	}
	for _, speed := range []float64{1, 20, 50} {
		timing, work := devTiming(speed, 100, consumer.Schedule)
		life := scaled(90*time.Second, speed) // the longest
		if work.Deadline < life+timing.ChatInterval || work.NotFoundGrace >= work.Deadline {
			t.Errorf("speed %g: deadline %s, grace %s, the longest life %s", speed, work.Deadline, work.NotFoundGrace, life)
		}
	}
	for _, one := range cast {
		for _, step := range one.script.Steps {
			if step.After > 90*time.Second {
				t.Errorf("%s lives for %s", one.story, step.After)
			}
		}
	}
}

// screenful is a view of n interactions, of which some have ended.
func screenful(n, ended int, now time.Time) devView {
	v := devView{now: now, expected: n, landed: ended, polls: 3 * n, elapsed: 1234 * time.Millisecond}
	for i, one := range newCast(n)[:n] {
		s := standing{part: one, declared: true, polls: i, said: "filePendingProcessing"}
		if i%5 == 4 {
			s.said, s.faulty = "503 service unavailable", true
		}
		if i < ended {
			s.kinds, s.ended = []string{"transcript", "cxai"}, now.Add(-time.Hour)
		}
		v.standings = append(v.standings, s)
	}
	return v
}

func TestFramesFitTheTerminal(t *testing.T) {
	notes := []string{"12:00:00 warning: " + strings.Repeat("the vendor is in trouble ", 10), "12:00:01 info: " + strings.Repeat("ü", 200)}
	for _, width := range []int{1, 10, 40, 80, 100, 200} {
		for _, height := range []int{1, 2, 5, 8, 9, 10, 24, 50, 200} {
			for _, n := range []int{0, 1, 17, 60} {
				s := devScreen{title: strings.Repeat("title ", 30)}
				for _, line := range s.frame(screenful(n, n/2, time.Now()), notes, width, height) {
					line = terminal.Unpainted(line)
					if have := utf8.RuneCountInString(line); have > width {
						t.Fatalf("%d by %d: a line of %d columns: %q", width, height, have, line)
					}
					if strings.Contains(line, "\x1b") || strings.Contains(line, "\n") {
						t.Fatalf("%d by %d: %q", width, height, line)
					}
				}
				if s := s.frame(screenful(n, 0, time.Now()), notes, width, height); len(s) > max(height-1, 1) {
					t.Fatalf("%d by %d: a frame of %d lines", width, height, len(s))
				}
			}
		}
	}
}

func TestRowsStayInPlace(t *testing.T) {
	s := devScreen{}
	now := time.Now()
	s.choose(screenful(20, 0, now), 5)
	if fmt.Sprint(s.rows) != "[0 1 2 3 4]" {
		t.Fatalf("rows %v", s.rows)
	}
	v := screenful(20, 0, now)
	v.standings[1].ended, v.standings[3].ended = now.Add(-2*linger), now // the fourth has just ended
	s.choose(v, 5)
	if fmt.Sprint(s.rows) != "[0 5 2 3 4]" {
		t.Errorf("rows %v: want the second given to the next that waits, and no other", s.rows)
	}
	for i := range v.standings {
		v.standings[i].ended = now.Add(-time.Hour)
	}
	s.choose(v, 5)
	if fmt.Sprint(s.rows) != "[0 5 2 3 4]" {
		t.Errorf("rows %v at the end: want what was there", s.rows)
	}
}

func TestNotesAreKeptBackFromTheTable(t *testing.T) {
	var told output
	notes := newDevNotes(&told, true)
	log := logrus.New()
	log.SetOutput(notes)
	log.SetFormatter(devFormat{})
	for i := range 5 {
		log.WithField("n", i).Warn("trouble")
	}
	if told.String() != "" {
		t.Errorf("written into the table: %s", &told)
	}
	if last := notes.last(2); len(last) != 2 || !strings.HasSuffix(last[1], "warning: trouble  n=4") {
		t.Errorf("the last notes are %q", last)
	}
	notes.open(0)
	log.Info("after")
	says(t, "standard error", &told, "n=0", "n=4", "info: after")
	if n := strings.Count(told.String(), "n=3"); n != 1 {
		t.Errorf("a note was written %d times", n)
	}
}

// stale is a message of the outcome stream that is no event.
type stale struct{ jetstream.Msg }

func (stale) Subject() string { return "interactions.processed.cxai.x" }
func (stale) Data() []byte    { return []byte("not JSON") }

func TestWatchTakesWhatIsNoEvent(t *testing.T) {
	w := newDevWatch(nil, time.Now)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, changed := w.since(0)
	w.landed(stale{})
	select {
	case <-changed:
	case <-ctx.Done():
		t.Fatal("nobody was told")
	}
	if all := w.landings(); len(all) != 1 || all[0].subject != "interactions.processed.cxai.x" {
		t.Errorf("landings %+v", all)
	}
}
