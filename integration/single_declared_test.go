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

// again is a moment at which an interaction is declared a second time, and the response of the broker.
type again struct {
	name string
	// One of these conditions is set. It is checked before a worker receives the vendor's answer or the message.
	poll    func(simulator.Poll) bool
	message func(harness.Message) bool
	// as is the type of the second declaration, if it differs from the first.
	as schema.Type
	// rejected is set if the broker rejects the message. Otherwise the worker must handle it.
	rejected bool
}

var secondTimes = map[consumer.Mode][]again{
	consumer.Schedule: {
		{name: "first reservation stored", message: firstReservationStored, rejected: true},
		{name: "polled for the first time", poll: first},
		{name: "polled for the first time, as another type", poll: first, as: schema.Audio},
		{name: "polled for the last time", poll: last},
		{name: "outcome stored", message: harness.Message.OutcomeStored},
		{name: "tombstone stored", message: harness.Message.TombstoneStored},
		{name: "tombstone stored, as another type", message: harness.Message.TombstoneStored, as: schema.Transcript},
		// An audio has one more result than a chat.
		{name: "tombstone stored, as an audio", message: harness.Message.TombstoneStored, as: schema.Audio},
	},
	consumer.Nak: {
		{name: "polled for the first time", poll: first, rejected: true},
		{name: "polled for the last time", poll: last, rejected: true},
		{name: "outcome stored", message: harness.Message.OutcomeStored, rejected: true},
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
		moments := make(map[string]again) // by identifier; deleted when they have come
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
			if m.rejected && !isStoredAlready(err) || !m.rejected && err != nil {
				wrong = append(wrong,
					fmt.Sprintf("%s: second message: error %v, want rejection %t", m.name, err, m.rejected))
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
			i := chat(&script, "processed.cxai")
			moments[i.identifier] = m
			s.declareAll([]interaction{i})
		}
		// Before the first message is taken in, and as soon as the broker accepts the second.
		early := chat(&script, "processed.cxai")
		s.declareAll([]interaction{early})
		if err := s.declare(s.ctx, early); !isStoredAlready(err) {
			t.Errorf("not taken in: second message: error %v, want a rejection by the broker", err)
		}
		s.start("NATS_URL=" + proxy.URL)
		if mode == consumer.Schedule {
			// When the broker accepts it, the first reservation is stored, and no other message.
			harness.Check(t, s.declareAgain(early))
			if n := s.vendor.CountOf(early.identifier); n != 0 {
				t.Errorf("it was polled %d times before the broker accepted the second message, want 0", n)
			}
		}
		// All second declarations must have been made: the outcomes alone do not prove that.
		harness.Check(t, harness.Eventually(s.ctx, "all second declarations", func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			var names []string
			for _, m := range moments {
				names = append(names, m.name)
			}
			if len(names) > 0 {
				slices.Sort(names)
				return fmt.Errorf("missing: %s", strings.Join(names, "; "))
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

// An interaction is declared again while its due message is in flight, so that no reservation is stored. That starts no
// second chain of polls. The due message is lost, and the first chain continues when it is redelivered.
func TestSingleDeclaredAgainWhileDueMessageIsInFlight(t *testing.T) {
	t.Parallel()
	broker := harness.StartServer(t)
	s := newScenario(t, setting{
		name: "declared-twice/schedule/due-message-in-flight", url: broker.URL, mode: consumer.Schedule,
		env: []string{longAge},
	})
	script := simulator.Processed(0)
	i := chat(&script, "processed.cxai")
	var discarded, redelivered atomic.Bool
	var polls atomic.Int64 // at the redelivery of the due message
	var reply string
	second := make(chan error, 1)
	proxy := harness.StartProxy(t, broker.URL, harness.Hooks{OnServer: func(m harness.Message) harness.Verdict {
		switch {
		case !m.Due():
		case discarded.CompareAndSwap(false, true):
			reply = m.Reply
			second <- s.declare(s.ctx, i)
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
	case err := <-second:
		harness.Check(t, err)
	case <-s.ctx.Done():
		t.Fatal("no due message was delivered")
	}
	s.finish()
	if n := polls.Load(); !redelivered.Load() || n != 0 {
		t.Errorf("due message redelivered: %t, after %d polls; want true, 0", redelivered.Load(), n)
	}
}

// sameMessage reports whether two deliveries are of the same message, by their reply subjects.
func sameMessage(a, b string) bool {
	// $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>...
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	return len(x) == 9 && len(y) == 9 && slices.Equal(x[2:4], y[2:4]) && x[5] == y[5]
}

// An interaction is declared again after its outcome, when its tombstone has expired.
func TestSingleDeclaredAgainAfterItsOutcome(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		s := newScenario(t, setting{
			name: "declared-again/" + string(mode), url: harness.StartServer(t).URL, mode: mode,
		})
		processed, never := simulator.Processed(0), simulator.Never()
		fails := simulator.Failed(schema.StatusProcessingFailed, 0)
		ended := []interaction{
			{what: "processed, then processed", typ: schema.Audio, script: &processed,
				kinds: []string{"processed.transcript", "processed.cxai"}},
			{what: "processed, then failed", typ: schema.Chat, script: &processed, kinds: []string{"processed.cxai"}},
			{what: "failed, then processed", typ: schema.Chat, script: &fails, kinds: []string{failed}},
			{what: "failed, then failed", typ: schema.Transcript, script: &fails, kinds: []string{failed}},
			{what: "missed its deadline, then processed", typ: schema.Transcript, script: &never,
				kinds: []string{"failed.deadline_exceeded"}},
		}
		for i := range ended {
			ended[i].identifier = uuid.NewString()
		}
		s.declareAll(ended)
		s.start()
		harness.Check(t, s.oracle.Await(s.ctx, s.want))
		harness.Check(t, harness.AwaitDrained(s.ctx, s.js))

		for n, next := range []struct {
			script *simulator.Script
			kinds  []string
		}{
			// A processed interaction is not polled again.
			{&processed, nil},
			{&fails, nil},
			// A failed one gets another outcome.
			{&processed, []string{"processed.cxai"}},
			{&fails, []string{failed}},
			{&processed, []string{"processed.cxai"}},
		} {
			i := ended[n]
			polls := s.vendor.CountOf(i.identifier)
			i.script, i.kinds = next.script, next.kinds
			s.declareAll([]interaction{i})
			if next.kinds == nil {
				harness.Check(t, harness.AwaitDrained(s.ctx, s.js))
				if n := s.vendor.CountOf(i.identifier) - polls; n != 0 {
					t.Errorf("%s: %d more polls, want none", i.what, n)
				}
				continue
			}
			if err := s.vendor.WaitPollsOf(s.ctx, i.identifier, polls+1); err != nil {
				t.Errorf("%s: no poll after the second declaration: %v", i.what, err)
			}
		}
		s.finish()
	})
}
