package overview_test

import (
	"encoding/json"
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

// testStage is a stage with helpers of this package.
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
	v, err := overview.New(s.JS, ns, time.Now).Take(s.Ctx)
	s.Check(err)
	v.Advice = advice.Overview(v)
	return v
}

// until takes overviews until is returns true.
func (s *testStage) until(what string, is func(overview.Overview) bool) overview.Overview {
	s.T.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last overview.Overview
	for {
		v, err := overview.New(s.JS, ns, time.Now).Take(s.Ctx)
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

func TestWithoutWorkers(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	for range 3 {
		s.Declare(schema.Audio, simulator.Never())
	}
	v := s.until("three declared messages", func(v overview.Overview) bool {
		return v.Intake != nil && v.Intake.Waiting == 3
	})
	if v.Redelivery != consumer.Schedule || len(v.Lanes) != 3 {
		t.Errorf("overview %+v", v)
	}
	if len(v.Workers) != 0 || len(v.Missing) != 0 || len(v.Advice) != 1 {
		t.Errorf("workers %v, missing %v, advice %q; want one sentence of advice", v.Workers, v.Missing, v.Advice)
	}
}

// A declared message of an interaction that is polled waits for its outcome: the intake is not late because of it.
func TestDeclaredMessagesThatWaitForAnOutcome(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	id := s.Declare(schema.Audio, simulator.Never())
	worker := s.start("pod-a", nil)
	s.until("a reservation", func(v overview.Overview) bool { return *lane(v, schema.Audio).Waiting == 1 })
	s.DeclareAs(schema.Audio, id)
	s.until("a declared message that waits", func(v overview.Overview) bool { return v.Intake.Unacked == 1 })
	worker.End()
	if v := s.take(); v.Intake.Unacked != 1 || v.Intake.WaitingSeconds != 0 {
		t.Errorf("intake %+v, want one message that waits for an outcome", v.Intake)
	}
	s.Declare(schema.Chat, simulator.Never())
	s.until("the age of a message that is not taken in", func(v overview.Overview) bool {
		return v.Intake.Waiting == 1 && v.Intake.WaitingSeconds > 0
	})
}

func TestLanesWithReservations(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	for range 4 {
		s.Declare(schema.Audio, simulator.Never())
	}
	s.Declare(schema.Chat, simulator.Never())
	worker := s.start("pod-a", nil)
	s.until("five reservations", func(v overview.Overview) bool {
		audio, chat := lane(v, schema.Audio), lane(v, schema.Chat)
		return *audio.Waiting == 4 && *chat.Waiting == 1 && *lane(v, schema.Transcript).Waiting == 0 &&
			*v.Waiting == 5 && audio.OldestSeconds > 1
	})
	worker.End()
	// Without a worker, the reservations fall due and stay so. A last pull may have delivered some.
	v := s.until("five due deliveries", func(v overview.Overview) bool {
		audio, chat := lane(v, schema.Audio), lane(v, schema.Chat)
		return audio.Due+uint64(audio.Unacked) == 4 && chat.Due+uint64(chat.Unacked) == 1 && audio.DueSeconds > 0.5
	})
	if l := lane(v, schema.Audio); *l.Waiting != 0 || l.OldestSeconds <= l.DueSeconds || *v.Waiting != 0 {
		t.Errorf("lane %+v: want no reservations, and an interaction that is older than its due message", l)
	}
	if len(v.Workers) != 0 {
		t.Errorf("workers %+v, want none", v.Workers)
	}
}

// While interactions are polled, what waits in all lanes is the sum of the lanes, whether the broker has just counted
// or not. No interaction is missing from new counts.
func TestTotalsAgreeWithTheLanes(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.Config.Intervals = consumer.Intervals{Audio: 100 * time.Millisecond, Chat: 100 * time.Millisecond,
		Transcript: 150 * time.Millisecond}
	const each = 20
	for _, typ := range schema.Types() {
		for range each {
			s.Declare(typ, simulator.Never())
		}
	}
	s.start("pod-a", nil)
	s.until("all reservations", func(v overview.Overview) bool { return *v.Waiting >= 3*each })
	repeated := overview.New(s.JS, ns, time.Now)
	counted, cached := 0, 0
	for counted < 100 || cached < 100 {
		inspector := repeated
		if counted < 100 {
			inspector = overview.New(s.JS, ns, time.Now)
		}
		v, err := inspector.Take(s.Ctx)
		check(t, err)
		sum := uint64(0)
		for _, l := range v.Lanes {
			sum += *l.Waiting
		}
		if sum != *v.Waiting {
			t.Fatalf("%d wait, and %d in the lanes: %+v", *v.Waiting, sum, v)
		}
		if !v.CountedAt.Equal(v.At) {
			cached++
			continue
		}
		counted++
		for _, l := range v.Lanes {
			if n := l.Due + uint64(l.Unacked) + *l.Waiting; n < each {
				t.Fatalf("%d interactions in lane %s, want at least %d: %+v", n, l.Type, each, v)
			}
		}
	}
}

func TestLanesWithNaks(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Nak)
	for range 4 {
		s.Declare(schema.Audio, simulator.Never())
	}
	// The broker counts a message for its consumer shortly after it has acknowledged the publish.
	v := s.until("four due messages", func(v overview.Overview) bool { return lane(v, schema.Audio).Due >= 4 })
	if l := lane(v, schema.Audio); l.Due != 4 || l.Unacked != 0 || l.Waiting != nil {
		t.Errorf("lane %+v", l)
	}
	if v.Waiting != nil || v.Intake != nil || v.Redelivery != consumer.Nak {
		t.Errorf("overview %+v", v)
	}
	s.start("pod-a", nil)
	v = s.until("four redeliveries", func(v overview.Overview) bool {
		l := lane(v, schema.Audio)
		return l.Due == 0 && l.Unacked == 4 && l.Redelivered == 4 && l.OldestSeconds > 1
	})
	if l := lane(v, schema.Audio); l.DueSeconds != 0 {
		t.Errorf("lane %+v: want no due time with naks", l)
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
			s.Publish(ns.DeclaredSubject(schema.Chat, uuid.NewString()), "not JSON")
			s.start("pod-a", nil)
			v := s.until("five outcomes", func(v overview.Overview) bool {
				h := v.Outcomes.LastHour
				return h.Processed[schema.ToCXAI] == 2 && h.Processed[schema.ToTranscript] == 1 &&
					h.Failed[schema.ProcessingFailed] == 1 && h.Failed[schema.InvalidMessage] == 1
			})
			stored := v.Outcomes.Stored
			if !reflect.DeepEqual(v.Outcomes.LastHour, stored) || len(stored.Failed) != len(schema.Reasons()) ||
				len(stored.Processed) != len(schema.Destinations()) {
				t.Errorf("outcomes %+v, want all in the last hour, and every kind", v.Outcomes)
			}
			if got := v.CountedAt.Sub(v.Outcomes.Since); got != time.Hour {
				t.Errorf("the last hour began %s before the count", got)
			}
			outcomes, err := s.JS.Stream(s.Ctx, ns.StreamOutcomes())
			check(t, err)
			for c := range outcomes.ListConsumers(s.Ctx).Info() {
				t.Errorf("consumer %s still exists", c.Name)
			}
		})
	}
}

// The broker sets the time of an outcome, so the test counts at later times.
func TestLastHour(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.Publish(ns.FailedSubject(schema.NotFound, uuid.NewString()), "{}")
	outcomes, err := s.JS.Stream(s.Ctx, ns.StreamOutcomes())
	check(t, err)
	first, err := outcomes.GetMsg(s.Ctx, 1)
	check(t, err)
	for _, test := range []struct {
		later time.Duration
		want  uint64
	}{{0, 1}, {59 * time.Minute, 1}, {61 * time.Minute, 0}} {
		c, err := overview.CountOutcomes(s.Ctx, s.JS, ns, first.Time.Add(test.later))
		check(t, err)
		if c.LastHour.Failed[schema.NotFound] != test.want || c.Stored.Failed[schema.NotFound] != 1 {
			t.Errorf("%s later: %+v, want %d in the last hour and 1 stored", test.later, c, test.want)
		}
	}
}

func TestJSONRoundTrip(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	s.Declare(schema.Audio, simulator.Never())
	s.start("pod-a", nil)
	v := s.until("a worker and a reservation", func(v overview.Overview) bool {
		return len(v.Workers) == 1 && *v.Lanes[0].Waiting == 1
	})
	data, err := json.Marshal(v)
	check(t, err)
	var back overview.Overview
	check(t, json.Unmarshal(data, &back))
	if again, err := json.Marshal(back); err != nil || string(again) != string(data) {
		t.Errorf("error %v, JSON\n%s, want\n%s", err, again, data)
	}
	for _, member := range []string{
		`"redelivery":"schedule"`, `"lanes":[{"type":"audio","due":`, `"countedAt":`,
		`"lastHour":{"processed":{"cxai":0,`, `"host":"pod-a"`, `"heardSeconds":`,
	} {
		if !strings.Contains(string(data), member) {
			t.Errorf("no %s in %s", member, data)
		}
	}
}

// An inspector counts less often than it takes overviews.
func TestCountingIsPaced(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule)
	clock := time.Now()
	v := overview.New(s.JS, ns, func() time.Time { clock = clock.Add(100 * time.Millisecond); return clock })
	take := func() overview.Overview {
		got, err := v.Take(s.Ctx)
		check(t, err)
		return got
	}
	first := take()
	s.Publish(ns.FailedSubject(schema.NotFound, uuid.NewString()), "{}")
	notFound := func(o overview.Overview) uint64 { return o.Outcomes.Stored.Failed[schema.NotFound] }
	again := take()
	if !again.CountedAt.Equal(first.CountedAt) || again.At.Equal(first.At) || notFound(again) != 0 {
		t.Errorf("counted at %s, then at %s, want no new count", first.CountedAt, again.CountedAt)
	}
	clock = clock.Add(10 * time.Second) // 50 times the 200 ms that the first counts took
	if again := take(); !again.CountedAt.Equal(again.At) || notFound(again) != 1 {
		t.Errorf("counted at %s, overview at %s, want a new count", again.CountedAt, again.At)
	}
}
