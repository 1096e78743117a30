package conformance_test

import (
	"fmt"
	"time"

	"statusworker/schema/broker"
)

// pending waits until a consumer has n pending messages: on a replicated stream it takes a short time.
func (s *stage) pending(consumer string, n uint64) {
	s.Helper()
	s.until("pending messages", func() error {
		state, err := s.Consumer(s.ctx, s.of("S"), consumer)
		if err == nil && state.Pending != n {
			err = fmt.Errorf("%d are pending", state.Pending)
		}
		return err
	})
}

var pullCases = []testCase{
	{name: "a pull", streams: just(queue), run: func(s *stage) {
		p := s.Puller(s.of("S"), "c")
		defer p.Close()
		pull := func(n int, wait time.Duration) (came int) {
			s.check(p.Pull(n, wait, func(broker.Delivery) { came++ }))
			return came
		}
		if n := pull(5, 0); n != 0 {
			s.Errorf("%d deliveries from an empty stream", n)
		}
		if n := pull(5, 100*time.Millisecond); n != 0 {
			s.Errorf("%d deliveries from an empty stream", n)
		}
		for _, subject := range []string{"q.1", "q.2", "q.3"} {
			s.put(broker.Publication{Subject: subject})
		}
		s.pending("c", 3)
		for i, want := range []int{2, 1, 0} {
			if n := pull(2, 0); n != want {
				s.Errorf("pull %d: %d deliveries, want %d", i, n, want)
			}
		}
		published := make(chan error)
		go func() {
			// By then the pull is pending; if it is not, it finds the message at once, which is correct, too.
			time.Sleep(100 * time.Millisecond)
			_, err := s.publish(broker.Publication{Subject: "q.4"})
			published <- err
		}()
		if n := pull(1, patience); n != 1 {
			s.Errorf("%d deliveries for a pending pull, want 1", n)
		}
		s.check(<-published)
		s.fails(p.Pull(0, 0, nil), nil)
		s.fails(p.Pull(broker.MaxPull+1, 0, nil), nil)
	}},
	{name: "two pullers share", streams: just(queue), run: func(s *stage) {
		came := make(chan []broker.Delivery)
		for range 2 {
			go func() {
				var got []broker.Delivery
				p := s.Puller(s.of("S"), "c")
				defer p.Close()
				if err := p.Pull(3, patience, func(d broker.Delivery) { got = append(got, d) }); err != nil {
					s.Error(err)
				}
				came <- got
			}()
		}
		for range 6 {
			s.put(broker.Publication{Subject: "q.1"})
		}
		seen := map[uint64]int{}
		for range 2 {
			for _, d := range <-came {
				seen[d.Sequence]++
				s.counts(d, 1)
			}
		}
		if len(seen) != 6 {
			s.Errorf("deliveries by sequence %v, want 6 messages once each", seen)
		}
	}},
	{name: "a filter", streams: with(queue, func(c *broker.StreamConfig) {
		c.Consumers = []broker.ConsumerConfig{
			{Name: "a", Filter: "q.a.*", AckWait: time.Minute, MaxAckPending: -1},
			{Name: "b", Filter: "q.b.*", AckWait: time.Minute, MaxAckPending: -1},
		}
	}), run: func(s *stage) {
		for _, subject := range []string{"q.b.1", "q.a.1", "q.b.2", "q.c.1", "q.a.2"} {
			s.put(broker.Publication{Subject: subject})
		}
		state := func(consumer string) broker.ConsumerState {
			got, err := s.Consumer(s.ctx, s.of("S"), consumer)
			s.check(err)
			return got
		}
		s.pending("a", 2)
		if got := state("a"); got.Pending != 2 || got.AckPending != 0 || got.AckWait != time.Minute ||
			got.Now.IsZero() || !got.PausedUntil.IsZero() {
			s.Errorf("state %+v", got)
		}
		got := s.pull("S", "a", 2)
		if got[0].Pending != 1 || got[1].Pending != 0 {
			s.Errorf("%d and %d messages were pending, want 1 and 0", got[0].Pending, got[1].Pending)
		}
		if s.short(got[0].Subject) != "q.a.1" || s.short(got[1].Subject) != "q.a.2" {
			s.Errorf("deliveries %v", got)
		}
		s.confirm(got[0])
		if got := state("a"); got.Pending != 0 || got.AckPending != 1 {
			s.Errorf("state with one pending delivery: %+v", got)
		}
		s.none("S", "a")
		s.pull("S", "b", 2)
	}},
}
