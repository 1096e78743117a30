package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// again is a moment at which an interaction is declared a second time, and what the broker says to it.
type again struct {
	name string
	// One of these tells the moment. Workers see the vendor's answer, or the message, only afterwards.
	poll    func(simulator.Poll) bool
	message func(harness.Message) bool
	// as is the type of the second declaration; empty means the same as the first.
	as schema.Type
	// refused by the broker at the publish; otherwise the message is accepted, and the stage has to deal with it.
	refused bool
}

var secondTimes = map[consumer.Mode][]again{
	consumer.Schedule: {
		{name: "first reservation stored", message: func(m harness.Message) bool { return m.ReservationStored() && number(m.Request) == "1" }, refused: true},
		{name: "polled for the first time", poll: first},
		{name: "polled for the first time, as another type", poll: first, as: schema.Audio},
		{name: "polled for the last time", poll: last},
		{name: "outcome stored", message: harness.Message.OutcomeStored},
		{name: "tombstone stored", message: harness.Message.TombstoneStored},
		{name: "tombstone stored, as another type", message: harness.Message.TombstoneStored, as: schema.Transcript},
		{name: "tombstone stored, as an audio, which has one result more", message: harness.Message.TombstoneStored, as: schema.Audio},
	},
	consumer.Nak: {
		{name: "polled for the first time", poll: first, refused: true},
		{name: "polled for the last time", poll: last, refused: true},
		{name: "outcome stored", message: harness.Message.OutcomeStored, refused: true},
	},
}

func first(p simulator.Poll) bool { return p.Number == 1 }
func last(p simulator.Poll) bool  { return p.Status == schema.StatusProcessed }

func TestSingleDeclaredTwiceAtEveryStage(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		broker := harness.StartServer(t)
		s := newScenario(t, setting{name: "declared-twice/" + string(mode), url: broker.URL, mode: mode})
		var mu sync.Mutex
		moments := make(map[string]again) // by identifier, until they have come
		var wrong []string
		take := func(identifier string, is func(again) bool) {
			mu.Lock()
			defer mu.Unlock()
			m, waiting := moments[identifier]
			if !waiting || !is(m) {
				return
			}
			delete(moments, identifier)
			i := interaction{identifier: identifier, typ: schema.Chat}
			if m.as != "" {
				i.typ = m.as
			}
			err := s.declare(s.ctx, i)
			if m.refused && !isStoredAlready(err) || !m.refused && err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: the broker said %v to the second message", m.name, err))
			}
		}
		s.vendor.OnPoll(func(p simulator.Poll) {
			take(p.Identifier, func(m again) bool { return m.poll != nil && m.poll(p) })
		})
		see := func(m harness.Message) harness.Verdict {
			identifier := m.Identifier()
			if m.Request != nil {
				identifier = m.Request.Identifier()
			}
			take(identifier, func(a again) bool { return a.message != nil && a.message(m) })
			return harness.Forward
		}
		proxy := harness.StartProxy(t, broker.URL, harness.Hooks{OnClient: see, OnServer: see})

		script := simulator.Processed(4 * time.Second) // not at its first poll
		for _, m := range secondTimes[mode] {
			i := interaction{identifier: uuid.NewString(), typ: schema.Chat, script: &script, kinds: []string{"processed.cxai"}}
			moments[i.identifier] = m
			s.declareAll([]interaction{i})
		}
		// Before anything is taken in, and as soon as the broker accepts it.
		early := interaction{identifier: uuid.NewString(), typ: schema.Chat, script: &script, kinds: []string{"processed.cxai"}}
		s.declareAll([]interaction{early})
		if err := s.declare(s.ctx, early); !isStoredAlready(err) {
			t.Errorf("not yet taken in: the broker said %v to the second message, want a refusal", err)
		}
		s.start("NATS_URL=" + proxy.URL)
		if mode == consumer.Schedule {
			// From now on the first reservation is pending, and nothing else.
			harness.Check(t, harness.Eventually(s.ctx, "the interaction to be taken in", func(ctx context.Context) error { return s.declare(ctx, early) }))
			if n := s.vendor.CountOf(early.identifier); n != 0 {
				t.Errorf("it was polled %d times before it could be declared again, want 0", n)
			}
		}
		// Each has to have its moment: the end of all may come before the last of them.
		harness.Check(t, harness.Eventually(s.ctx, "all second declarations", func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			var names []string
			for _, m := range moments {
				names = append(names, m.name)
			}
			if len(names) > 0 {
				slices.Sort(names)
				return fmt.Errorf("still to come: %s", strings.Join(names, "; "))
			}
			return nil
		}))
		s.finish()
		mu.Lock()
		defer mu.Unlock()
		for _, w := range wrong {
			t.Error(w)
		}
	})
}

// A due message is on its way to a worker, so that nothing of the interaction is pending, and it is declared once more.
// That begins no second chain of polls: the first one goes on when the due message, which was lost, is delivered again.
func TestSingleDeclaredAgainWhileDueMessageIsOut(t *testing.T) {
	t.Parallel()
	broker := harness.StartServer(t)
	s := newScenario(t, setting{
		name: "declared-twice/schedule/due-message-out", url: broker.URL, mode: consumer.Schedule, env: []string{"STATUSWORKER_DEADLINE=5m"},
	})
	script := simulator.Processed(0)
	i := interaction{identifier: uuid.NewString(), typ: schema.Chat, script: &script, kinds: []string{"processed.cxai"}}
	var swallowed atomic.Bool
	var redelivered atomic.Bool
	var polls atomic.Int64 // made when the due message came again
	var reply string
	out := make(chan error, 1)
	proxy := harness.StartProxy(t, broker.URL, harness.Hooks{OnServer: func(m harness.Message) harness.Verdict {
		switch {
		case !m.Due():
		case swallowed.CompareAndSwap(false, true):
			reply = m.Reply
			out <- s.declare(s.ctx, i)
			return harness.Drop
		case sameMessage(m.Reply, reply):
			redelivered.Store(true)
			polls.Store(int64(s.vendor.CountOf(i.identifier)))
		}
		return harness.Forward
	}})
	s.start("NATS_URL=" + proxy.URL)
	s.declareAll([]interaction{i})
	select {
	case err := <-out:
		harness.Check(t, err)
	case <-s.ctx.Done():
		t.Fatal("nothing fell due")
	}
	s.finish()
	if n := polls.Load(); !redelivered.Load() || n != 0 {
		t.Errorf("the due message came again: %v, after %d polls, want none", redelivered.Load(), n)
	}
}

// sameMessage tells whether two deliveries, by their reply subjects, are of one message.
func sameMessage(a, b string) bool {
	// $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>...
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	return len(x) == 9 && len(y) == 9 && slices.Equal(x[2:4], y[2:4]) && x[5] == y[5]
}

func TestSingleDeclaredAgainAfterItsEnd(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		s := newScenario(t, setting{name: "declared-again/" + string(mode), url: harness.StartServer(t).URL, mode: mode})
		done, failed, never := simulator.Processed(0), simulator.Failed(schema.StatusProcessingFailed, 0), simulator.Never()
		ended := []interaction{
			{what: "processed, then processed", identifier: uuid.NewString(), typ: schema.Audio, script: &done, kinds: []string{"processed.transcript", "processed.cxai"}},
			{what: "processed, then failed", identifier: uuid.NewString(), typ: schema.Chat, script: &done, kinds: []string{"processed.cxai"}},
			{what: "failed, then processed", identifier: uuid.NewString(), typ: schema.Chat, script: &failed, kinds: []string{"failed.processing_failed"}},
			{what: "failed, then failed", identifier: uuid.NewString(), typ: schema.Transcript, script: &failed, kinds: []string{"failed.processing_failed"}},
			{what: "missed its deadline, then processed", identifier: uuid.NewString(), typ: schema.Transcript, script: &never, kinds: []string{"failed.deadline_exceeded"}},
		}
		s.declareAll(ended)
		s.start()
		harness.Check(t, s.oracle.Await(s.ctx, s.want))
		harness.Check(t, harness.AwaitDrained(s.ctx, s.js))

		for n, next := range []struct {
			script *simulator.Script
			kinds  []string
		}{
			{&done, nil},   // its results were handed on
			{&failed, nil}, // and nobody asks again
			{&done, []string{"processed.cxai"}},
			{&failed, []string{"failed.processing_failed"}}, // a second try, a second dead letter
			{&done, []string{"processed.cxai"}},
		} {
			i := ended[n]
			polls := s.vendor.CountOf(i.identifier)
			i.script, i.kinds = next.script, next.kinds
			s.declareAll([]interaction{i})
			if next.kinds == nil {
				harness.Check(t, harness.AwaitDrained(s.ctx, s.js))
				if n := s.vendor.CountOf(i.identifier) - polls; n != 0 {
					t.Errorf("%s: it was polled %d times more, want none", i.what, n)
				}
				continue
			}
			if err := s.vendor.WaitPollsOf(s.ctx, i.identifier, polls+1); err != nil {
				t.Errorf("%s: it was not polled again: %v", i.what, err)
			}
		}
		s.finish()
	})
}
