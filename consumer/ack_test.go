package consumer_test

import (
	"net/http"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// backlog is the number of due messages from which a worker delays acknowledgements.
const backlog = 500

// pulls is a broker whose pulls from the polls stream a test observes and changes.
type pulls struct {
	broker.Broker
	// pulled is called before each pull but the first, with the last sequence that was delivered; or nil.
	pulled func(delivered uint64)
	// pending is added to the number of messages that each delivery reports to be due after it.
	pending uint64
}

func (p pulls) Puller(stream, name string) broker.Puller {
	made := p.Broker.Puller(stream, name)
	if stream != ns.StreamPolls() {
		return made
	}
	return &observedPuller{Puller: made, pulls: p}
}

type observedPuller struct {
	broker.Puller
	pulls
	delivered uint64
}

func (p *observedPuller) Pull(n int, wait time.Duration, take func(broker.Delivery)) error {
	if p.pulled != nil && p.delivered > 0 {
		p.pulled(p.delivered)
	}
	return p.Puller.Pull(n, wait, func(d broker.Delivery) {
		p.delivered = d.Sequence
		d.Pending += p.pending
		take(d)
	})
}

// While a lane has a backlog, the stream has a message that was delivered before: without one the broker looks for the
// next due message among all of them.
func TestBacklogKeepsADeliveryInTheStream(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, func(c *consumer.Config) {
			c.Concurrency = 4 // one slot for each lane and the intake: each delivery ends before the next pull
		})
		const n = backlog + 100
		for range n {
			p := reserve(schema.Chat, "1", time.Now(), time.Now(), nil)
			_, id, _ := ns.SplitSubject(p.Subject)
			s.Vendor.Declare(id, simulator.Never())
			s.PublishMessage(p)
		}
		s.Until("all to be due", func() bool {
			state, err := s.Broker.Consumer(s.Ctx, ns.StreamPolls(), ns.PollConsumer(schema.Chat))
			s.Check(err)
			return state.Pending == n
		})
		last := s.Fake.Stored(ns.StreamPolls())[n-backlog-1].Sequence
		checked := 0
		s.Start(stage.Ports{Broker: pulls{Broker: s.Fake, pulled: func(delivered uint64) {
			if delivered > last {
				return
			}
			checked++
			if first := s.Fake.Stored(ns.StreamPolls())[0].Sequence; first > delivered {
				t.Errorf("pull after sequence %d: the first message has sequence %d", delivered, first)
			}
		}}})
		s.WaitPolls(n)
		if checked < (n-backlog)/2 {
			t.Errorf("%d pulls with a backlog, want about %d", checked, n-backlog)
		}
	})
}

// dueMessages is the number of due messages that are stored.
func (s *testStage) dueMessages() (n int) {
	for _, m := range s.Fake.Stored(ns.StreamPolls()) {
		if ns.IsPollSubject(m.Subject) {
			n++
		}
	}
	return n
}

// An acknowledgement is delayed only in a backlog, and is sent without another delivery, too.
func TestDelayedAcknowledgement(t *testing.T) {
	for name, pending := range map[string]uint64{"backlog": backlog, "no backlog": backlog - 1} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := withRealIntervals(t, consumer.Schedule)
				id := s.Declare(schema.Audio, simulator.Never())
				w := s.Start(stage.Ports{Broker: pulls{Broker: s.Fake, pending: pending}})
				s.WaitPollsOf(id, 1)
				if delayed := s.dueMessages() == 1; delayed != (pending >= backlog) {
					t.Errorf("delayed: %t", delayed)
				}
				time.Sleep(time.Second)
				if n := s.dueMessages(); n != 0 {
					t.Errorf("%d due messages a second after the poll, want none", n)
				}
				s.WaitPollsOf(id, 3)
				if dropped := w.Stats().Dropped; dropped != 0 {
					t.Errorf("%d deliveries were dropped, want none: no message was redelivered", dropped)
				}
			})
		})
	}
}

// If a worker dies with a delayed acknowledgement, the message is redelivered, and another worker drops it.
func TestDiesWithADelayedAcknowledgement(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := withRealIntervals(t, consumer.Schedule)
		declared := time.Now()
		id := s.Declare(schema.Audio, pendingFor(1))
		m := &mortal{Broker: s.Fake, died: make(chan struct{})}
		first := s.Start(stage.Ports{Broker: pulls{Broker: m, pending: backlog}})
		s.WaitPollsOf(id, 1)
		close(m.died)
		first.Kill()
		s.Check(first.Wait())
		if n := s.dueMessages(); n != 1 {
			t.Fatalf("%d due messages when the worker is dead, want the one that it has polled", n)
		}
		second := s.Start()
		s.wantProcessed(id)
		s.WaitDrained()
		s.gaps(id, declared, 2)
		if dropped := second.Stats().Dropped; dropped != 2 {
			t.Errorf("%d deliveries were dropped, want the redelivered message and the tombstone", dropped)
		}
	})
}

// What falls due while the vendor fails is polled afterwards. Nothing is lost, and nothing is polled early or ends
// twice, also if a worker dies meanwhile.
func TestBacklogAfterAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := withRealIntervals(t, consumer.Schedule)
		const n = 2 * backlog
		s.Vendor.SetFaults(simulator.Refusal(http.StatusServiceUnavailable))
		m := &mortal{Broker: s.Fake, died: make(chan struct{})}
		first := s.Start(stage.Ports{Broker: m})
		s.Start()
		var want []string
		for range n {
			id := s.Declare(schema.Chat, pendingFor(1))
			want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		}
		s.Until("a backlog", func() bool {
			state, err := s.Broker.Consumer(s.Ctx, ns.StreamPolls(), ns.PollConsumer(schema.Chat))
			s.Check(err)
			return state.Pending >= n*4/5
		})
		s.Vendor.SetFaults()
		s.WaitPolls(s.Vendor.Count() + n/10)
		close(m.died)
		first.Kill()
		s.WantOutcomes(want...)
		s.WaitDrained()
		s.CheckIntervals()
	})
}
