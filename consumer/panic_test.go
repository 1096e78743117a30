package consumer_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// explosive makes its worker panic at some polls, and at the outcomes of some interactions.
type explosive struct {
	consumer.StatusClient
	consumer.OutcomePublisher
	mu sync.Mutex
	// polls has the polls that panic, by the identifier. outcomes has the interactions whose outcomes do, except
	// internal errors.
	polls    map[string]func(number int) bool
	outcomes map[string]bool
	polled   map[string]int
}

func (e *explosive) Status(ctx context.Context, id string, sendBy time.Time) (schema.Answer, error) {
	e.mu.Lock()
	e.polled[id]++
	panics := e.polls[id]
	explode := panics != nil && panics(e.polled[id])
	e.mu.Unlock()
	if explode {
		panic("as the test requires")
	}
	return e.StatusClient.Status(ctx, id, sendBy)
}

func (e *explosive) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	if o := outcomes[0]; e.outcomes[o.Identifier] && o.Reason != schema.InternalError {
		var none []int
		_ = none[len(outcomes)] // a runtime error
	}
	return e.OutcomePublisher.Publish(ctx, outcomes...)
}

func newExplosive(s *testStage) *explosive {
	return &explosive{
		StatusClient:     s.Client(),
		OutcomePublisher: s.Publisher(),
		polls:            map[string]func(int) bool{},
		outcomes:         map[string]bool{},
		polled:           map[string]int{},
	}
}

func always(int) bool { return true }

// An interaction that makes its worker panic repeatedly ends, whatever panics. One that does so at times continues.
func TestRepeatedPanicsEndAnInteraction(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		e := newExplosive(s)
		// What the detail names, by subject.
		const (
			poll    = "consumer_test.(*explosive).Status (panic_test.go:"
			publish = "consumer_test.(*explosive).Publish (panic_test.go:"
		)
		want := map[string]string{}
		internalError := func(id, names string) { want[ns.FailedSubject(schema.InternalError, id)] = names }
		processed := func(id string) { want[ns.ProcessedSubject(schema.ToCXAI, id)] = "" }
		const invalid = `{"type":`

		id := s.Declare(schema.Chat, simulator.Never())
		e.polls[id] = always
		internalError(id, poll)
		id = s.Declare(schema.Chat, simulator.Processed(0))
		e.polls[id] = func(n int) bool { return n <= 2 }
		processed(id)
		id = s.Declare(schema.Chat, simulator.Processed(3*time.Second))
		e.polls[id] = func(n int) bool { return n%3 != 0 } // never three in a row
		processed(id)
		for _, script := range []simulator.Script{
			simulator.Processed(0), simulator.Failed(schema.StatusProcessingFailed, 0),
		} {
			id = s.Declare(schema.Chat, script)
			e.outcomes[id] = true
			internalError(id, publish)
		}
		id = uuid.NewString() // panics in the intake, or at the first delivery
		e.outcomes[id] = true
		s.Publish(ns.DeclaredSubject(schema.Chat, id), invalid)
		internalError(id, publish)

		s.Start(stage.Ports{Client: e, Outcomes: e})
		for _, o := range s.WaitOutcomes(len(want)) {
			names, ok := want[o.Subject]
			if !ok || !strings.Contains(o.Data.Detail, names) {
				t.Errorf("outcome on %s: %s", o.Subject, o.Data.Detail)
			}
			hasNone := string(o.Data.Declaration) == "null"
			if payload := string(o.Data.Payload); hasNone != (payload == invalid) {
				t.Errorf("%s: declaration %s, payload %q", o.Subject, o.Data.Declaration, payload)
			}
		}
		s.WaitDrained()
		s.CheckIntervals()
		for one := range e.outcomes {
			if one != id && e.polled[one] != 3 {
				t.Errorf("%s was polled %d times, want 3", one, e.polled[one])
			}
		}
	})
}

// With reservations the count is stored at the broker: it continues when another worker polls.
func TestPanicsCountOverARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		id := s.Declare(schema.Audio, simulator.Never())
		e := newExplosive(s)
		e.polls[id] = always
		for n := 1; n <= 3; n++ {
			w := s.Start(stage.Ports{Client: e, Outcomes: e})
			s.Until("a panic", func() bool { return w.Stats().Panics == 1 })
			w.End()
			if got := w.Stats().Panics; got != 1 {
				t.Fatalf("worker %d panicked %d times, want once", n, got)
			}
		}
		s.WantOutcomes(ns.FailedSubject(schema.InternalError, id))
	})
}

// A delivery that panics after the deadline is not tried again, however rarely it was tried before.
func TestPanicAfterTheDeadline(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.Deadline = 650 * time.Millisecond })
		e := newExplosive(s)
		id := s.Declare(schema.Chat, simulator.Never())
		e.polls[id] = always
		time.Sleep(s.Config.Deadline + time.Millisecond) // the broker keeps the message meanwhile
		s.Start(stage.Ports{Client: e, Outcomes: e})
		s.WantOutcomes(ns.FailedSubject(schema.InternalError, id))
		s.WaitDrained()
		if e.polled[id] != 1 {
			t.Errorf("polled %d times, want once", e.polled[id])
		}
	})
}
