package overview_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/internal/advice"
	"statusworker/cmd/overview"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// interval is long enough for a test to inspect what waits, and short enough to wait for one poll.
var interval = consumer.Intervals{Audio: time.Second, Chat: time.Second, Transcript: time.Second}

// testStage is a stage with what only the tests of this package need.
type testStage struct{ *stage.Stage }

// newStage makes a stage. Without a mode its broker has no streams.
func newStage(t *testing.T, mode consumer.Mode) *testStage {
	t.Helper()
	return &testStage{stage.New(t, stage.Options{
		Mode: mode, Worker: consumer.Config{Intervals: interval, Version: "v1.2.3"},
	})}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a worker of a host.
func (s *testStage) start(host string, change func(*consumer.Config)) *stage.Worker {
	s.T.Helper()
	s.Config.Host = host
	if change != nil {
		change(&s.Config)
	}
	return s.Start()
}

func (s *testStage) take() overview.Overview {
	s.T.Helper()
	v, err := overview.New(s.JS, time.Now).Take(s.Ctx)
	s.Check(err)
	v.Advice = advice.Overview(v)
	return v
}

// until takes overviews until one is as it should be.
func (s *testStage) until(what string, is func(overview.Overview) bool) overview.Overview {
	s.T.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last overview.Overview
	for {
		v, err := overview.New(s.JS, time.Now).Take(s.Ctx)
		if s.Ctx.Err() != nil {
			s.T.Fatalf("waiting for %s: %+v", what, last)
		}
		s.Check(err)
		v.Advice = advice.Overview(v)
		last = v
		if is(v) {
			return v
		}
		<-tick.C
	}
}

func lane(v overview.Overview, t schema.Type) overview.Lane {
	return v.Lanes[slices.IndexFunc(v.Lanes, func(l overview.Lane) bool { return l.Type == t })]
}

func TestNobodyWorks(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	for range 3 {
		s.Declare(schema.Audio, simulator.Never())
	}
	v := s.take()
	if v.Intake == nil || v.Intake.Waiting != 3 || v.Redelivery != consumer.Schedule || len(v.Lanes) != 3 || len(v.Workers) != 0 || len(v.Missing) != 0 {
		t.Errorf("survey %+v", v)
	}
	if len(v.Advice) != 1 || !strings.HasPrefix(v.Advice[0], "no worker is alive") {
		t.Errorf("advice %q", v.Advice)
	}
}

func TestReservationsAreSeenByLane(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	for range 4 {
		s.Declare(schema.Audio, simulator.Never())
	}
	s.Declare(schema.Chat, simulator.Never())
	worker := s.start("pod-a", nil)
	s.until("five to be held back", func(v overview.Overview) bool {
		audio, chat := lane(v, schema.Audio), lane(v, schema.Chat)
		return *audio.Waiting == 4 && *chat.Waiting == 1 && *lane(v, schema.Transcript).Waiting == 0 && *v.Waiting == 5 && audio.OldestSeconds > 1
	})
	worker.End()
	// Nobody is there any more: what was held back falls due, and waits. (A last pull may have taken some along.)
	v := s.until("all to be due", func(v overview.Overview) bool {
		audio, chat := lane(v, schema.Audio), lane(v, schema.Chat)
		return audio.Due+uint64(audio.Out) == 4 && chat.Due+uint64(chat.Out) == 1 && audio.DueSeconds > 0.5
	})
	if l := lane(v, schema.Audio); *l.Waiting != 0 || l.OldestSeconds <= l.DueSeconds || *v.Waiting != 0 {
		t.Errorf("lane %+v: nothing is held back any more, and an interaction is older than its poll is due", l)
	}
	if len(v.Workers) != 0 {
		t.Errorf("%+v have stopped", v.Workers)
	}
}

func TestNaksAreSeenByLane(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Nak)
	for range 4 {
		s.Declare(schema.Audio, simulator.Never())
	}
	v := s.take()
	if l := lane(v, schema.Audio); l.Due != 4 || l.Out != 0 || l.Waiting != nil || v.Waiting != nil || v.Intake != nil || v.Redelivery != consumer.Nak {
		t.Errorf("lane %+v of %+v", l, v)
	}
	s.start("pod-a", nil)
	v = s.until("four to be out again", func(v overview.Overview) bool {
		l := lane(v, schema.Audio)
		return l.Due == 0 && l.Out == 4 && l.Redelivered == 4 && l.OldestSeconds > 1
	})
	if l := lane(v, schema.Audio); l.DueSeconds != 0 {
		t.Errorf("lane %+v: with naks nobody knows how long something is due", l)
	}
}

func TestOutcomesAreCounted(t *testing.T) {
	t.Parallel()
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, mode)
			s.Declare(schema.Audio, simulator.Processed(0))
			s.Declare(schema.Chat, simulator.Processed(0))
			s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0))
			s.Publish(schema.DeclaredSubject(schema.Chat, uuid.NewString()), "not JSON")
			s.start("pod-a", nil)
			v := s.until("five outcomes", func(v overview.Overview) bool {
				h := v.Outcomes.LastHour
				return h.Processed[schema.ToCXAI] == 2 && h.Processed[schema.ToTranscript] == 1 && h.Failed[schema.ProcessingFailed] == 1 && h.Failed[schema.InvalidMessage] == 1
			})
			if !reflect.DeepEqual(v.Outcomes.LastHour, v.Outcomes.Stored) || len(v.Outcomes.Stored.Failed) != len(schema.Reasons()) || len(v.Outcomes.Stored.Processed) != len(schema.Destinations()) {
				t.Errorf("outcomes %+v: all of them are young, and every kind is named", v.Outcomes)
			}
			if got := v.CountedAt.Sub(v.Outcomes.Since); got != time.Hour {
				t.Errorf("counted since %s ago, want an hour", got)
			}
			outcomes, err := s.JS.Stream(s.Ctx, schema.StreamOutcomes)
			check(t, err)
			for c := range outcomes.ListConsumers(s.Ctx).Info() {
				t.Errorf("consumer %s is left behind", c.Name)
			}
		})
	}
}

// An outcome is told by the broker to be as old as it is; so the test looks from an hour later.
func TestOnlyTheLastHourIsTheLastHour(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.Publish(schema.FailedSubject(schema.NotFound, uuid.NewString()), "{}")
	outcomes, err := s.JS.Stream(s.Ctx, schema.StreamOutcomes)
	check(t, err)
	first, err := outcomes.GetMsg(s.Ctx, 1)
	check(t, err)
	for _, test := range []struct {
		later time.Duration
		want  uint64
	}{{0, 1}, {59 * time.Minute, 1}, {61 * time.Minute, 0}} {
		c, err := overview.CountOutcomes(s.Ctx, s.JS, first.Time.Add(test.later))
		check(t, err)
		if c.LastHour.Failed[schema.NotFound] != test.want || c.Stored.Failed[schema.NotFound] != 1 {
			t.Errorf("%s later: %+v, want %d in the last hour and 1 stored", test.later, c, test.want)
		}
	}
}

func TestWorkersAreSeen(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.Declare(schema.Audio, simulator.Never())
	s.start("pod-b", func(c *consumer.Config) { c.MaxPollsPerSecond = 10 })
	worker := s.start("pod-a", func(c *consumer.Config) { c.MaxPollsPerSecond = 10 })
	v := s.until("two workers, and their shares", func(v overview.Overview) bool {
		return len(v.Workers) == 2 && v.Workers[0].Share == 5 && v.Workers[1].Share == 5
	})
	a, b := v.Workers[0], v.Workers[1]
	if a.Host != "pod-a" || b.Host != "pod-b" || a.Version != "v1.2.3" || a.State != schema.Working || a.Worker == "" || a.Worker == b.Worker || a.RateLimit != 10 || a.HeardSeconds > schema.AnnouncementMaxAge.Seconds() {
		t.Errorf("workers %+v", v.Workers)
	}
	if len(v.Advice) != 0 {
		t.Errorf("advice %q where all is well", v.Advice)
	}
	worker.End()
	v = s.take()
	if len(v.Workers) != 1 || v.Workers[0].Host != "pod-b" {
		t.Errorf("workers %+v: one has stopped", v.Workers)
	}
}

func TestAPausedWorkerSaysWhy(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct{ cause, advice string }{
		503: {"unavailable", "every worker paused: nothing is polled (unavailable)"},
		401: {"unauthorized", "check the API token"},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule)
			s.Vendor.SetFaults(simulator.Refusal(status))
			for range 5 {
				s.Declare(schema.Chat, simulator.Never())
			}
			s.start("pod-a", nil)
			v := s.until("a rest", func(v overview.Overview) bool { return len(v.Workers) == 1 && v.Workers[0].Cause != "" })
			w := v.Workers[0]
			if w.State != schema.Paused && w.State != schema.Probing || w.Cause != want.cause || w.Until == nil || !strings.Contains(w.Detail, fmt.Sprint(status)) {
				t.Errorf("worker %+v", w)
			}
			if all := strings.Join(v.Advice, "\n"); !strings.Contains(all, want.advice) {
				t.Errorf("advice %q, want %q", all, want.advice)
			}
		})
	}
}

func TestForeignAnnouncements(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	hostile := "\x1b[2J\r\n\u009b31m\u202e" + strings.Repeat("x", 500)
	text, err := json.Marshal(schema.Announcement{
		Worker: "other", Host: "a" + hostile, Version: hostile, State: schema.WorkerState(hostile), Cause: hostile, Detail: hostile,
		Oldest: map[schema.Type]float64{schema.Type(hostile): 1, schema.Audio: 7},
	})
	check(t, err)
	s.Publish(schema.WorkerSubject("1"), string(text))
	s.Publish(schema.WorkerSubject("2"), "\x1b[2J")
	s.Publish(schema.WorkerSubject("3"), "{}")
	s.Publish(schema.WorkerSubject("4"), `{"state":"working","host":"`+strings.Repeat("y", 100_000)+`"}`)
	s.Publish(schema.WorkerSubject("5"), `{"state":"stopped"}`)
	s.Publish(schema.WorkerSubject("6"), `{"state":7}`)
	v := s.take()
	got := map[string]overview.Worker{}
	for _, w := range v.Workers {
		got[w.Worker] = w
	}
	for _, key := range []string{"2", "3", "4", "6"} {
		if w, ok := got[key]; !ok || w.Problem == "" {
			t.Errorf("worker %s is %+v, want it to be shown with a problem", key, w)
		}
	}
	if _, ok := got["5"]; ok {
		t.Error("a worker that has stopped is shown")
	}
	w := got["1"]
	if len(w.Oldest) != 1 || lane(v, schema.Audio).OldestSeconds != 7 || !strings.HasPrefix(w.Host, "a") || w.Problem != "" {
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
		t.Errorf("%d bytes of foreign text", len(data))
	}
}

func TestMissingStreamsAreNamed(t *testing.T) {
	t.Parallel()
	const declared, polls, outcomes, workers = schema.StreamDeclared, schema.StreamPolls, schema.StreamOutcomes, schema.StreamWorkers
	all := []string{"stream " + declared, "stream " + polls, "stream " + outcomes, "stream " + workers}
	for name, test := range map[string]struct {
		mode      consumer.Mode
		streams   []string // that are deleted
		consumers [][2]string
		want      []string
		nothing   bool
	}{
		"all is there":                       {mode: consumer.Schedule},
		"all is there, with naks":            {mode: consumer.Nak},
		"nothing was provisioned":            {want: all, nothing: true},
		"nothing is left":                    {mode: consumer.Schedule, streams: []string{declared, polls, outcomes, workers}, want: all, nothing: true},
		"only outcomes are left":             {mode: consumer.Schedule, streams: []string{declared, polls, workers}, want: []string{all[0], all[1], all[3]}},
		"only the bucket is left, with naks": {mode: consumer.Nak, streams: []string{declared, outcomes}, want: all[:3]},
		"only the declared stream is left":   {mode: consumer.Schedule, streams: []string{polls, outcomes, workers}, want: all[1:]},
		"and not its consumer":               {mode: consumer.Schedule, streams: []string{polls, outcomes, workers}, consumers: [][2]string{{declared, "intake"}}, want: append([]string{"consumer " + declared + "/intake"}, all[1:]...)},
		"no polls":                           {mode: consumer.Schedule, streams: []string{polls}, want: all[1:2]},
		"no intake":                          {mode: consumer.Schedule, consumers: [][2]string{{declared, "intake"}}, want: []string{"consumer " + declared + "/intake"}},
		"no outcomes":                        {mode: consumer.Schedule, streams: []string{outcomes}, want: all[2:3]},
		"no outcomes, with naks":             {mode: consumer.Nak, streams: []string{outcomes}, want: all[2:3]},
		"a consumer and two streams":         {mode: consumer.Schedule, streams: []string{outcomes, workers}, consumers: [][2]string{{polls, "poll-chat"}}, want: []string{"consumer " + polls + "/poll-chat", all[2], all[3]}},
		"two lanes, with naks":               {mode: consumer.Nak, consumers: [][2]string{{declared, "poll-audio"}, {declared, "poll-chat"}}, want: []string{"consumer " + declared + "/poll-audio", "consumer " + declared + "/poll-chat"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, test.mode)
			for _, c := range test.consumers {
				check(t, s.JS.DeleteConsumer(s.Ctx, c[0], c[1]))
			}
			for _, name := range test.streams {
				check(t, s.JS.DeleteStream(s.Ctx, name))
			}
			v, want := s.take(), slices.Sorted(slices.Values(test.want))
			if !slices.Equal(v.Missing, want) {
				t.Errorf("missing %q, want %q", v.Missing, want)
			}
			err := v.Provisioned()
			var missing *overview.MissingError
			if !errors.As(err, &missing) {
				if err != nil || len(want) > 0 {
					t.Errorf("error %v", err)
				}
				return
			}
			if !slices.Equal(missing.Missing, want) || missing.Nothing != test.nothing || missing.Redelivery != v.Redelivery {
				t.Errorf("error %+v", missing)
			}
			advised := advice.Missing(err)
			if want := "`" + advice.ProvisionCommand(v.Redelivery, consumer.Config{}) + "`"; !strings.Contains(advised.Error(), want) {
				t.Errorf("%q does not name the command %s", advised, want)
			}
			if len(v.Advice) == 0 || v.Advice[0] != advised.Error() {
				t.Errorf("advice %q does not begin with %q", v.Advice, advised)
			}
		})
	}
}

// An operator may pause a consumer. Everybody else wonders why nothing is polled.
func TestPausedConsumersAreTold(t *testing.T) {
	t.Parallel()
	for mode, paused := range map[consumer.Mode][][2]string{
		consumer.Schedule: {{schema.StreamDeclared, schema.ConsumerIntake}, {schema.StreamPolls, schema.PollConsumer(schema.Chat)}},
		consumer.Nak:      {{schema.StreamDeclared, schema.PollConsumer(schema.Chat)}},
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, mode)
			s.start("pod-a", nil)
			until := time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)
			for _, c := range paused {
				_, err := s.JS.PauseConsumer(s.Ctx, c[0], c[1], until)
				check(t, err)
			}
			v := s.until("a worker", func(v overview.Overview) bool { return len(v.Workers) == 1 })
			if l := lane(v, schema.Chat); l.PausedUntil == nil || !l.PausedUntil.Equal(until) || lane(v, schema.Audio).PausedUntil != nil {
				t.Errorf("lanes %+v, want chat alone to be paused until %s", v.Lanes, until)
			}
			if len(v.Advice) != len(paused) {
				t.Errorf("advice %q, want one for each of %q", v.Advice, paused)
			}
			for i, a := range v.Advice {
				if want := "`nats consumer resume " + paused[i][0] + " " + paused[i][1] + "`"; !strings.Contains(a, "2100-01-02T03:04:05Z") || !strings.Contains(a, want) {
					t.Errorf("advice %q does not say until when, or %s", a, want)
				}
			}
			for _, c := range paused {
				_, err := s.JS.ResumeConsumer(s.Ctx, c[0], c[1])
				check(t, err)
			}
			if v := s.take(); len(v.Advice) > 0 || lane(v, schema.Chat).PausedUntil != nil {
				t.Errorf("resumed, but %+v", v)
			}
		})
	}
}

func TestJSONRoundTrip(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.Declare(schema.Audio, simulator.Never())
	s.start("pod-a", nil)
	v := s.until("a worker and a reservation", func(v overview.Overview) bool { return len(v.Workers) == 1 && *v.Lanes[0].Waiting == 1 })
	data, err := json.Marshal(v)
	check(t, err)
	var back overview.Overview
	check(t, json.Unmarshal(data, &back))
	if again, err := json.Marshal(back); err != nil || string(again) != string(data) {
		t.Errorf("%v: %s\nis not\n%s", err, again, data)
	}
	for _, member := range []string{`"redelivery":"schedule"`, `"lanes":[{"type":"audio","due":`, `"countedAt":`, `"lastHour":{"processed":{"cxai":0,`, `"host":"pod-a"`, `"heardSeconds":`} {
		if !strings.Contains(string(data), member) {
			t.Errorf("no %s in %s", member, data)
		}
	}
}

// Counting costs the broker something: an inspector that is asked again and again does it seldom.
func TestCountingIsPaced(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	clock := time.Now()
	v := overview.New(s.JS, func() time.Time { clock = clock.Add(100 * time.Millisecond); return clock })
	take := func() overview.Overview {
		got, err := v.Take(s.Ctx)
		check(t, err)
		return got
	}
	first := take()
	s.Publish(schema.FailedSubject(schema.NotFound, uuid.NewString()), "{}")
	if again := take(); !again.CountedAt.Equal(first.CountedAt) || again.At.Equal(first.At) || again.Outcomes.Stored.Failed[schema.NotFound] != 0 {
		t.Errorf("counted at %s, then at %s: want the first count to be good", first.CountedAt, again.CountedAt)
	}
	clock = clock.Add(5 * time.Second) // 50 times the 100 ms that the first took
	if again := take(); !again.CountedAt.Equal(again.At) || again.Outcomes.Stored.Failed[schema.NotFound] != 1 {
		t.Errorf("counted at %s, at %s: want a new count", again.CountedAt, again.At)
	}
}
