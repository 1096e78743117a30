package consumer_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/adapter"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// explosive makes its worker panic at some polls, and at the outcomes of some interactions.
type explosive struct {
	consumer.StatusClient
	consumer.OutcomePublisher
	mu sync.Mutex
	// polls has the polls that panic, by the identifier; outcomes has those whose outcomes do, but for internal errors.
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
		panic("as the test wants it")
	}
	return e.StatusClient.Status(ctx, id, sendBy)
}

func (e *explosive) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	if o := outcomes[0]; e.outcomes[o.Identifier] && o.Reason != schema.InternalError {
		var none []int
		_ = none[len(outcomes)] // an error of the runtime
	}
	return e.OutcomePublisher.Publish(ctx, outcomes...)
}

func newExplosive(s *testStage) *explosive {
	p, err := publisher.New(s.Ctx, adapter.New(s.JS), s.Config.Log)
	if err != nil {
		s.T.Fatal(err)
	}
	return &explosive{
		StatusClient:     s.Client(),
		OutcomePublisher: p,
		polls:            map[string]func(int) bool{},
		outcomes:         map[string]bool{},
		polled:           map[string]int{},
	}
}

func always(int) bool { return true }

// An interaction that makes its worker panic again and again ends, whatever panics; one that does so now and then goes
// on.
func TestWhatPanicsEnds(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		e := newExplosive(s)
		want := map[string]string{} // by subject: what the detail names
		declare := func(script simulator.Script, subject func(id string) string, names string) string {
			id := s.Declare(schema.Chat, script)
			want[subject(id)] = names
			return id
		}
		ends := func(r schema.Reason) func(string) string {
			return func(id string) string { return schema.FailedSubject(r, id) }
		}
		processed := func(id string) string { return schema.ProcessedSubject(schema.ToCXAI, id) }
		const poll, outcome = "consumer_test.(*explosive).Status (panic_test.go:", "consumer_test.(*explosive).Publish (panic_test.go:"
		e.polls[declare(simulator.Never(), ends(schema.InternalError), poll)] = always
		e.polls[declare(simulator.Processed(0), processed, "")] = func(n int) bool { return n <= 2 }
		e.polls[declare(simulator.Processed(3*time.Second), processed, "")] = func(n int) bool { return n%3 != 0 } // never three in a row
		e.outcomes[declare(simulator.Processed(0), ends(schema.InternalError), outcome)] = true
		e.outcomes[declare(simulator.Failed(schema.StatusProcessingFailed, 0), ends(schema.InternalError), outcome)] = true
		invalid := uuid.NewString() // panics where declared messages are taken in
		e.outcomes[invalid] = true
		s.Publish(schema.DeclaredSubject(schema.Chat, invalid), `{"type":`)
		want[schema.FailedSubject(schema.InternalError, invalid)] = outcome

		s.Start(stage.Ports{Client: e, Outcomes: e})
		for _, o := range s.WaitOutcomes(len(want)) {
			names, ok := want[o.Subject]
			if !ok || !strings.Contains(o.Data.Detail, names) {
				t.Errorf("outcome on %s: %s", o.Subject, o.Data.Detail)
			}
			declared := string(o.Data.Declaration)
			if payload := string(o.Data.Payload); declared == "null" != (payload == `{"type":`) {
				t.Errorf("%s: declaration %s, payload %q", o.Subject, declared, payload)
			}
		}
		s.WaitDrained()
		s.CheckIntervals()
		for id := range e.outcomes {
			if id != invalid && e.polled[id] != 3 {
				t.Errorf("%s was polled %d times, want 3", id, e.polled[id])
			}
		}
	})
}

// With reservations the count is the broker's: it goes on where another worker polls.
func TestPanicsCountOverARestart(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, nil)
	id := s.Declare(schema.Audio, simulator.Never())
	e := newExplosive(s)
	e.polls[id] = always
	for n := uint64(1); n <= 3; n++ {
		w := s.Start(stage.Ports{Client: e, Outcomes: e})
		s.Until("a panic", func() bool { return w.Stats().Panics == 1 })
		w.Stop()
		_ = w.Wait()
		if got := w.Stats().Panics; got != 1 {
			t.Fatalf("worker %d panicked %d times, want once", n, got)
		}
	}
	got := s.WaitOutcomes(1)[0]
	if got.Subject != schema.FailedSubject(schema.InternalError, id) {
		t.Errorf("outcome on %s: %s", got.Subject, got.Data.Detail)
	}
}

// What panics is not tried past its deadline, however rarely it was tried before.
func TestPanicAfterTheDeadline(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.Deadline = 650 * time.Millisecond })
		e := newExplosive(s)
		id := uuid.NewString()
		e.polls[id] = always
		s.Vendor.Declare(id, simulator.Never())
		s.DeclareAs(schema.Chat, id)
		time.Sleep(s.Config.Deadline) // the broker keeps the message meanwhile
		s.Start(stage.Ports{Client: e, Outcomes: e})
		if got := s.WaitOutcomes(1)[0]; got.Subject != schema.FailedSubject(schema.InternalError, id) {
			t.Errorf("outcome on %s: %s", got.Subject, got.Data.Detail)
		}
		s.WaitDrained()
		if e.polled[id] != 1 {
			t.Errorf("polled %d times, want once", e.polled[id])
		}
	})
}
