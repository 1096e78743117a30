package consumer_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/schema/topology"
	"statusworker/statusclient/simulator"
)

// declareMuch declares more chats than the stream of reservations has room for, and returns the subjects of their
// outcomes.
func (s *testStage) declareMuch(count, size int, takes time.Duration) (outcomes []string) {
	s.T.Helper()
	padding := fmt.Sprintf(`"padding":%q`, strings.Repeat("x", size))
	for range count {
		id := s.Declare(schema.Chat, simulator.Processed(takes), padding)
		for _, to := range (schema.Declared{Type: schema.Chat}).Destinations() {
			outcomes = append(outcomes, ns.ProcessedSubject(to, id))
		}
	}
	return outcomes
}

// logged returns how often a message was logged.
func logged(hook *logtest.Hook, level logrus.Level, message string) (n int) {
	for _, e := range hook.AllEntries() {
		if e.Level == level && e.Message == message {
			n++
		}
	}
	return n
}

const (
	intakeBlocked = "intake blocked; the stream of reservations has no room for more interactions"
	intakeResumed = "intake resumed"
)

// If more is declared than the stream of reservations has room for, the rest waits in the stream of declared messages,
// while what is taken in is polled. No reservation is deleted because of the maximum size.
func TestStreamOfReservationsIsFull(t *testing.T) {
	const maximum = 8 << 20
	const count, size = 200, 60_000 // more than the maximum size in all
	for name, workers := range map[string]int{
		"few workers":  3,
		"many workers": 40, // their shares are too small for the largest message
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				log, hook := logtest.NewNullLogger()
				var mu sync.Mutex
				var stored, most int
				options := fake.Options{FiresLate: 140 * time.Millisecond, OnChange: func(c fake.Change) {
					if c.Stream != ns.StreamPolls() {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if c.Removed {
						stored -= len(c.Message.Data)
					} else {
						stored += len(c.Message.Data)
					}
					most = max(most, stored)
				}}
				s := newStage(t, stage.Options{
					Mode: consumer.Schedule, InMemory: true, Fake: options, PollsMaxBytes: maximum,
				}, func(c *consumer.Config) { c.Intervals, c.Log = consumer.Guidance, log })
				want := s.declareMuch(count, size, time.Minute)
				var all []*stage.Worker
				for range workers {
					all = append(all, s.Start())
				}
				s.Until("all intakes to be blocked", func() bool {
					for _, w := range all {
						if !w.Stats().IntakeBlocked {
							return false
						}
					}
					return true
				})
				s.WantOutcomes(want...)
				s.CheckIntervals()
				blocked := logged(hook, logrus.WarnLevel, intakeBlocked)
				resumed := logged(hook, logrus.InfoLevel, intakeResumed)
				mu.Lock()
				defer mu.Unlock()
				t.Logf("at most %d bytes of %d; blocked %d times", most, maximum, blocked)
				if resumed < workers || blocked < resumed {
					t.Errorf("intakes blocked %d times and resumed %d times, want each once or more", blocked, resumed)
				}
			})
		})
	}
}

// An intake that cannot read how full the stream of reservations is takes in nothing, and continues when it can.
func TestSizeOfReservationsIsUnknown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, stage.Options{
			Mode: consumer.Schedule, InMemory: true, PollsMaxBytes: topology.MinPollsBytes,
		}, nil)
		w := s.NewWorker()
		s.Fake.Inject(fake.Fault{Op: fake.Stream, Object: ns.StreamPolls(), Times: 50, Err: broker.ErrNoAnswer})
		w.Run()
		id := s.Declare(schema.Chat, simulator.Processed(0))
		time.Sleep(20 * time.Second)
		if polls := s.Vendor.CountOf(id); polls != 0 {
			t.Errorf("%d polls while the size is unknown, want none", polls)
		}
		s.WaitPollsOf(id, 1)
	})
}

// A maximum size that is set while workers run counts.
func TestMaximumSizeIsSetLater(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, nil)
	w := s.Start()
	const maximum = 4 << 20
	info, err := s.JS.Stream(s.Ctx, ns.StreamPolls())
	s.Check(err)
	limited := info.CachedInfo().Config
	limited.MaxBytes = maximum
	_, err = s.JS.UpdateStream(s.Ctx, limited)
	s.Check(err)
	time.Sleep(11 * time.Second) // a stream without a maximum size is read every 10 s
	want := s.declareMuch(60, 40_000, time.Hour)
	s.Until("the intake to be blocked", func() bool { return w.Stats().IntakeBlocked })
	if state, err := s.Broker.Stream(s.Ctx, ns.StreamDeclared()); err != nil || state.Messages == 0 {
		t.Errorf("no declared message waits while the intake is blocked: %+v, error %v", state, err)
	}
	for _, subject := range want {
		_, id, _ := ns.SplitSubject(subject)
		s.Vendor.Declare(id, simulator.Processed(0))
	}
	s.WantOutcomes(want...)
}
