package consumer_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// withRealIntervals makes a stage in memory whose workers have the default poll intervals, and the mean jitter.
func withRealIntervals(t *testing.T, mode consumer.Mode) *testStage {
	t.Helper()
	return inMemory(t, mode, func(c *consumer.Config) {
		c.Intervals, c.Jitter = consumer.Guidance, func() float64 { return 0.5 }
	})
}

// longestWait is the longest time between two polls that nothing delays: the interval, the time that the broker takes,
// and the slack. That of delayed naks is a second. With reservations, it is 50 ms for the request to be written, and 50
// ms for the way to the vendor; the first poll has a jitter of 0.25 s instead.
func longestWait(mode consumer.Mode) time.Duration {
	if mode == consumer.Nak {
		return 30*time.Second + time.Second + 250*time.Millisecond
	}
	return 30*time.Second + 250*time.Millisecond + 140*time.Millisecond
}

// gaps returns the times between the declared message and the first poll, and between polls. It fails the test if one
// is shorter than the interval, or if their number is another.
func (s *testStage) gaps(id string, declared time.Time, want int) (gaps []time.Duration) {
	s.T.Helper()
	last := declared
	for _, p := range s.Vendor.PollsOf(id) {
		gap := p.At.Sub(last)
		if last = p.At; gap < s.Config.Intervals.Audio {
			s.T.Errorf("a poll after %s, the interval is %s", gap, s.Config.Intervals.Audio)
		}
		gaps = append(gaps, gap)
	}
	if len(gaps) != want {
		s.T.Errorf("polls after %v, want %d", gaps, want)
	}
	return gaps
}

func pendingFor(polls int) simulator.Script {
	return simulator.Processed(0).With(simulator.Fault{Kind: simulator.OtherStatus, Status: "processing"}.On(1, polls))
}

func TestPolledAtTheInterval(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := withRealIntervals(t, mode)
		declared := time.Now()
		id := s.Declare(schema.Audio, pendingFor(2))
		s.Start()
		s.wantProcessed(id)
		s.WaitDrained()
		for _, gap := range s.gaps(id, declared, 3) {
			if most := longestWait(mode); gap > most {
				t.Errorf("a poll after %s, want %s at most", gap, most)
			}
		}
	})
}

// An interaction whose first polls fail is polled later, and processed.
func TestVendorUnavailableForSomePolls(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := withRealIntervals(t, mode)
		declared := time.Now()
		unavailable := simulator.Refusal(http.StatusServiceUnavailable).On(1, 3)
		id := s.Declare(schema.Audio, simulator.Processed(0).With(unavailable))
		s.Start()
		s.wantProcessed(id)
		s.WaitDrained()
		s.gaps(id, declared, 4)
	})
}

// mortal is a broker for a worker that dies before a nak, or after a publish: nothing after that reaches the broker.
type mortal struct {
	*fake.Broker
	diesBeforeNak    func(d broker.Delivery) bool // or nil
	diesAfterPublish func(p broker.Publication) bool
	died             chan struct{}
}

// dead reports whether the worker is dead. If it dies now, the caller waits until the test has killed it.
func (m *mortal) dead(dies bool) bool {
	select {
	case <-m.died:
		return true
	default:
	}
	if dies {
		close(m.died)
		time.Sleep(time.Second)
	}
	return dies
}

func (m *mortal) Ack(d broker.Delivery) error {
	if m.dead(false) {
		return broker.ErrClosed
	}
	return m.Broker.Ack(d)
}

func (m *mortal) Nak(d broker.Delivery, delay time.Duration) error {
	if m.dead(m.diesBeforeNak != nil && m.diesBeforeNak(d)) {
		return broker.ErrClosed
	}
	return m.Broker.Nak(d, delay)
}

func (m *mortal) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	if m.dead(false) {
		return broker.Ack{}, broker.ErrClosed
	}
	ack, err := m.Broker.Publish(ctx, p)
	if m.dead(m.diesAfterPublish != nil && m.diesAfterPublish(p)) {
		return broker.Ack{}, broker.ErrClosed
	}
	return ack, err
}

// A worker dies after it has reserved the next poll and before it has acknowledged this one's message; with delayed
// naks it dies after the poll and before the nak. Another worker makes the next poll, no earlier than the interval
// allows.
func TestKilledBeforeItSettles(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := withRealIntervals(t, mode)
		declared := time.Now()
		id := s.Declare(schema.Audio, pendingFor(1))
		m := &mortal{Broker: s.Fake, died: make(chan struct{})}
		if mode == consumer.Schedule {
			m.diesAfterPublish = func(p broker.Publication) bool { return p.Header.Get(schema.HeaderPoll) == "2" }
		} else {
			m.diesBeforeNak = func(broker.Delivery) bool { return s.Vendor.CountOf(id) == 1 }
		}
		first := s.Start(stage.Ports{Broker: m})
		<-m.died
		first.Kill()
		s.Check(first.Wait())
		died := time.Now()
		s.Start()
		s.wantProcessed(id)
		s.WaitDrained()
		s.gaps(id, declared, 2)
		if polls := s.Vendor.PollsOf(id); mode == consumer.Schedule && polls[0].At.Before(died) {
			t.Errorf("it was polled at %s, before its worker died at %s", polls[0].At, died)
		}
	})
}
