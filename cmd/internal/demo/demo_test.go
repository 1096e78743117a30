package demo

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/terminal"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// Missing and duplicate outcomes, and early polls, are found.
func TestJudgement(t *testing.T) {
	audio := newPart(ns, schema.Audio, "", simulator.Script{}).processed()
	chat := newPart(ns, schema.Chat, "", simulator.Script{}).failed(schema.NotFound)
	interval := consumer.Intervals{Audio: time.Second, Chat: time.Second / 2, Transcript: time.Second / 2}
	began := time.Now()
	land := func(subjects ...string) (landed []landing) {
		for _, s := range subjects {
			kind, id, _ := ns.SplitSubject(s)
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
		poll(audio.identifier, 0), poll(chat.identifier, time.Second/4), poll(chat.identifier,
			3*time.Second/4), poll(audio.identifier, time.Second),
	}
	for _, test := range []struct {
		name   string
		landed []landing
		polls  []simulator.Poll
		want   map[string]int // faults by their kind
	}{
		{"as expected", land(good...), polite, nil},
		{"nothing", nil, nil, map[string]int{"missing": 3}},
		{"half an outcome", land(good[1:]...), polite, map[string]int{"missing": 1}},
		{"twice", land(append(good, chat.want[0])...), polite, map[string]int{"doubled": 1}},
		{"a contradiction", land(append(good, ns.ProcessedSubject(schema.ToCXAI, chat.identifier))...), polite,
			map[string]int{"unexpected": 1}},
		{"another reason", land(audio.want[0], audio.want[1], ns.FailedSubject(schema.Rejected, chat.identifier)),
			polite, map[string]int{"missing": 1, "unexpected": 1}},
		{"an unknown interaction", land(append(good, ns.FailedSubject(schema.NotFound, "x"))...), polite,
			map[string]int{"unexpected": 1}},
		{"too early", land(good...), append(polite, poll(audio.identifier, 1999*time.Millisecond)),
			map[string]int{"early": 1}},
		{"polled together", land(good...), append(polite, poll(chat.identifier, time.Second/4)),
			map[string]int{"early": 1}},
		{"a poll of an unknown interaction", land(good...), append(polite, poll("x", 0)),
			map[string]int{"unexpected": 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := judge(ns, []part{audio, chat}, test.landed, test.polls, interval)
			found := map[string]int{}
			for kind, list := range map[string][]string{"missing": r.missing, "doubled": r.doubled,
				"unexpected": r.unexpected, "early": r.early} {
				if len(list) > 0 {
					found[kind] = len(list)
				}
			}
			if !maps.Equal(found, test.want) || (r.verdict() == nil) != (len(test.want) == 0) {
				t.Errorf("faults %v and verdict %v, want %v", found, r.verdict(), test.want)
			}
			var shown bytes.Buffer
			r.write(&shown, 80)
			clean := strings.Contains(shown.String(), "all outcomes are as expected")
			if clean != (len(test.want) == 0) {
				t.Errorf("the summary contradicts the verdict:\n%s", &shown)
			}
			for _, line := range strings.Split(shown.String(), "\n") {
				if utf8.RuneCountInString(line) > 80 {
					t.Errorf("a line of the summary is too wide: %q", line)
				}
			}
		})
	}
	if r := (report{waiting: true}); r.verdict() == nil {
		t.Error("streams that are not empty are not reported")
	}
}

func TestCastCoversEveryOutcome(t *testing.T) {
	cast := newCast(ns, 100)
	subjects := map[string]int{}
	identifiers := map[string]bool{}
	types := map[schema.Type]int{}
	for _, one := range cast {
		if identifiers[one.identifier] {
			t.Errorf("duplicate identifier %s", one.identifier)
		}
		identifiers[one.identifier] = true
		types[one.typ]++
		for _, s := range one.want {
			subjects[pattern(s)]++
		}
	}
	for _, d := range schema.Destinations() {
		if subjects[ns.ProcessedSubject(d, "*")] == 0 {
			t.Errorf("no interaction for destination %s", d)
		}
	}
	for _, r := range schema.Reasons() {
		if subjects[ns.FailedSubject(r, "*")] == 0 && r != schema.InternalError {
			t.Errorf("no interaction for reason %s", r)
		}
	}
	if len(types) != len(schema.Types()) {
		t.Errorf("types %v", types)
	}
	for _, speed := range []float64{1, 20, 50} {
		work := Demo{Speed: speed, Count: 100, Redelivery: consumer.Schedule}.config(nil)
		longest := scaled(90*time.Second, speed)
		if work.Deadline < longest+work.Intervals.Chat || work.NotFoundGrace >= work.Deadline {
			t.Errorf("speed %g: deadline %s, grace %s, longest processing %s", speed, work.Deadline, work.NotFoundGrace,
				longest)
		}
	}
	for _, one := range cast {
		for _, step := range one.script.Steps {
			if step.After > 90*time.Second {
				t.Errorf("%s takes %s", one.story, step.After)
			}
		}
	}
}

// screenful is a view of n interactions, of which some have ended.
func screenful(n, ended int, now time.Time) view {
	v := view{now: now, expected: n, landed: ended, polls: 3 * n, elapsed: 1234 * time.Millisecond}
	for i, one := range newCast(ns, n)[:n] {
		s := state{part: one, declared: true, polls: i, answer: "filePendingProcessing"}
		if i%5 == 4 {
			s.answer, s.faulty = "503 service unavailable", true
		}
		if i < ended {
			s.kinds, s.ended = []string{"transcript", "cxai"}, now.Add(-time.Hour)
		}
		v.states = append(v.states, s)
	}
	return v
}

func TestFramesFitTheTerminal(t *testing.T) {
	notes := []string{"12:00:00 warning: " + strings.Repeat("polling paused ", 20),
		"12:00:01 info: " + strings.Repeat("ü", 200)}
	for _, width := range []int{1, 10, 40, 80, 100, 200} {
		for _, height := range []int{1, 2, 5, 8, 9, 10, 24, 50, 200} {
			for _, n := range []int{0, 1, 17, 60} {
				s := screen{title: strings.Repeat("title ", 30)}
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
	s := screen{}
	now := time.Now()
	s.choose(screenful(20, 0, now), 5)
	if fmt.Sprint(s.rows) != "[0 1 2 3 4]" {
		t.Fatalf("rows %v", s.rows)
	}
	v := screenful(20, 0, now)
	v.states[1].ended, v.states[3].ended = now.Add(-2*linger), now // the fourth has just ended
	s.choose(v, 5)
	if fmt.Sprint(s.rows) != "[0 5 2 3 4]" {
		t.Errorf("rows %v: want the second one reassigned, and no other", s.rows)
	}
	for i := range v.states {
		v.states[i].ended = now.Add(-time.Hour)
	}
	s.choose(v, 5)
	if fmt.Sprint(s.rows) != "[0 5 2 3 4]" {
		t.Errorf("rows %v at the end: want no change", s.rows)
	}
}

func TestNotesAreBufferedWhileATableIsDrawn(t *testing.T) {
	var shown bytes.Buffer
	notes := newNotes(&shown, true)
	log := logrus.New()
	log.SetOutput(notes)
	log.SetFormatter(cli.TextFormat{})
	for i := range 5 {
		log.WithField("n", i).Warn("broken")
	}
	if shown.String() != "" {
		t.Errorf("written while the table is drawn: %s", &shown)
	}
	if last := notes.last(2); len(last) != 2 || !strings.HasSuffix(last[1], "broken  n=4") {
		t.Errorf("the last notes are %q", last)
	}
	notes.open(0)
	log.Info("after")
	for _, note := range []string{"n=0", "n=3", "n=4", "after"} {
		if n := strings.Count(shown.String(), note); n != 1 {
			t.Errorf("the note %s was written %d times in:\n%s", note, n, &shown)
		}
	}
}

// garbage is a message of the outcome stream that is not an event.
type garbage struct{ jetstream.Msg }

func (garbage) Subject() string { return "interactions.processed.cxai.x" }
func (garbage) Data() []byte    { return []byte("not JSON") }

func TestWatcherAcceptsMessagesThatAreNotEvents(t *testing.T) {
	w := newWatcher(ns, nil, time.Now)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, changed := w.since(0)
	w.landed(garbage{})
	select {
	case <-changed:
	case <-ctx.Done():
		t.Fatal("no change was signalled")
	}
	if all := w.landings(); len(all) != 1 || all[0].subject != "interactions.processed.cxai.x" {
		t.Errorf("landings %+v", all)
	}
}
