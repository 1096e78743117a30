package overview_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

func TestWorkers(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.Declare(schema.Audio, simulator.Never())
	s.start("pod-b", func(c *consumer.Config) { c.MaxPollsPerSecond = 10 })
	worker := s.start("pod-a", func(c *consumer.Config) { c.MaxPollsPerSecond = 10 })
	v := s.until("two workers with their shares", func(v overview.Overview) bool {
		return len(v.Workers) == 2 && v.Workers[0].Share == 5 && v.Workers[1].Share == 5
	})
	a, b := v.Workers[0], v.Workers[1]
	if a.Host != "pod-a" || b.Host != "pod-b" || a.Worker == "" || a.Worker == b.Worker {
		t.Errorf("workers %+v", v.Workers)
	}
	if a.Version != "v1.2.3" || a.State != schema.Working || a.RateLimit != 10 ||
		a.HeardSeconds > schema.AnnouncementMaxAge.Seconds() {
		t.Errorf("worker %+v", a)
	}
	if len(v.Advice) != 0 {
		t.Errorf("advice %q, want none", v.Advice)
	}
	worker.End()
	v = s.take()
	if len(v.Workers) != 1 || v.Workers[0].Host != "pod-b" {
		t.Errorf("workers %+v, want only pod-b", v.Workers)
	}
}

func TestPausedWorker(t *testing.T) {
	t.Parallel()
	for status, cause := range map[int]string{503: "unavailable", 401: "unauthorized"} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule)
			s.Vendor.SetFaults(simulator.Refusal(status))
			for range 5 {
				s.Declare(schema.Chat, simulator.Never())
			}
			s.start("pod-a", nil)
			v := s.until("a pause", func(v overview.Overview) bool {
				return len(v.Workers) == 1 && v.Workers[0].Cause != ""
			})
			w := v.Workers[0]
			if w.State != schema.Paused && w.State != schema.Probing || w.Cause != cause || w.Until == nil ||
				!strings.Contains(w.Detail, fmt.Sprint(status)) {
				t.Errorf("worker %+v", w)
			}
			if all := strings.Join(v.Advice, "\n"); !strings.Contains(all, cause) {
				t.Errorf("advice %q, want the cause %s", all, cause)
			}
		})
	}
}

func TestForeignAnnouncements(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	hostile := "\x1b[2J\r\n\u009b31m\u202e" + strings.Repeat("x", 500)
	text, err := json.Marshal(schema.Announcement{
		Worker: "other", Host: "a" + hostile, Version: hostile, State: schema.WorkerState(hostile), Cause: hostile,
		Detail: hostile, Oldest: map[schema.Type]float64{schema.Type(hostile): 1, schema.Audio: 7},
	})
	check(t, err)
	s.Publish(ns.WorkerSubject("1"), string(text))
	s.Publish(ns.WorkerSubject("2"), "\x1b[2J")
	s.Publish(ns.WorkerSubject("3"), "{}")
	s.Publish(ns.WorkerSubject("4"), `{"state":"working","host":"`+strings.Repeat("y", 100_000)+`"}`)
	s.Publish(ns.WorkerSubject("5"), `{"state":"stopped"}`)
	s.Publish(ns.WorkerSubject("6"), `{"state":7}`)
	v := s.take()
	got := map[string]overview.Worker{}
	for _, w := range v.Workers {
		got[w.Worker] = w
	}
	for _, key := range []string{"2", "3", "4", "6"} {
		if w, ok := got[key]; !ok || w.Problem == "" {
			t.Errorf("worker %s is %+v, want a problem", key, w)
		}
	}
	if _, ok := got["5"]; ok {
		t.Error("a stopped worker is reported")
	}
	w := got["1"]
	if len(w.Oldest) != 1 || lane(v, schema.Audio).OldestSeconds != 7 || !strings.HasPrefix(w.Host, "a") ||
		w.Problem != "" {
		t.Errorf("worker %+v", w)
	}
	data, err := json.Marshal(v)
	check(t, err)
	for _, r := range string(data) {
		if r < ' ' || r == '\u007f' || r >= 0x80 && r < 0xa0 || r == '\u202e' {
			t.Errorf("%U is in %q", r, data)
		}
	}
	if len(data) > 10_000 {
		t.Errorf("%d bytes, want long texts to be cut", len(data))
	}
}
