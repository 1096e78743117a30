package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema/broker"
)

// An example of use: workers that reserve the next poll before they make the current one. They declare an interface
// with only the operations that they need.

const (
	interval   = 400 * time.Millisecond
	slack      = 300 * time.Millisecond
	lastPoll   = 4
	manyLoops  = 8
	headerPoll = "Poll"
)

// ports has the operations of the broker that a worker of this loop needs.
type ports interface {
	Publish(ctx context.Context, p broker.Publication) (broker.Ack, error)
	Last(ctx context.Context, stream, subjects string) (broker.Message, error)
	Stream(ctx context.Context, stream string) (broker.StreamState, error)
	Puller(stream, consumer string) broker.Puller
	Ack(d broker.Delivery) error
}

type loop struct {
	ports
	stream, prefix string
	mu             sync.Mutex
	polls          map[string][]time.Time // times of the broker, by interaction
	ended          map[string]bool
}

func (l *loop) reserve(ctx context.Context, id string, poll int, due time.Time) error {
	_, err := l.Publish(ctx, broker.Publication{
		Subject:  l.prefix + ".hold.a." + id,
		Header:   broker.Header{headerPoll: {strconv.Itoa(poll)}},
		If:       broker.Condition{Subjects: l.prefix + ".hold.*." + id},
		Schedule: broker.Schedule{At: due, Target: l.prefix + ".poll.a." + id},
	})
	return err
}

// work polls until ctx ends. The broker redelivers what fails.
func (l *loop) work(ctx context.Context) {
	p := l.Puller(l.stream, "c")
	defer p.Close()
	for ctx.Err() == nil {
		var due []broker.Delivery
		_ = p.Pull(4, 200*time.Millisecond, func(d broker.Delivery) { due = append(due, d) })
		for _, d := range due {
			bounded, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			_ = l.one(bounded, d)
			cancel()
		}
	}
}

func (l *loop) one(ctx context.Context, d broker.Delivery) error {
	id, poll := d.Subject[len(l.prefix+".poll.a."):], number(d.Message)
	if poll > lastPoll {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended[id] = true
		return l.Ack(d)
	}
	state, err := l.Stream(ctx, l.stream)
	if err != nil {
		return err
	}
	next := state.Now.Add(interval + slack)
	if err := l.reserve(ctx, id, poll+1, next); errors.Is(err, broker.ErrRejected) {
		pending, err := l.Last(ctx, l.stream, l.prefix+".hold.*."+id)
		if err == nil && number(pending) > poll {
			return l.Ack(d) // another worker has reserved the next poll
		}
		return err
	} else if err != nil {
		return err
	}
	if err := l.Ack(d); err != nil {
		return err
	}
	state, err = l.Stream(ctx, l.stream)
	if err != nil || state.Now.After(next.Add(-interval)) {
		return err // too late: the poll would be too close to the next one
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.polls[id] = append(l.polls[id], state.Now)
	return nil
}

func number(m broker.Message) int {
	n, _ := strconv.Atoi(m.Header.Get(headerPoll)) // an invalid number counts as 0
	return n
}

// runLoop runs three workers until all interactions have ended, and returns the number of polls. It calls disturb again
// and again meanwhile.
func runLoop(s *stage, disturb func()) (polls int) {
	l := &loop{ports: s, stream: s.of("S"), prefix: s.prefix, polls: map[string][]time.Time{}, ended: map[string]bool{}}
	for i := range manyLoops {
		s.check(l.reserve(s.ctx, fmt.Sprint(i), 1, s.now("S").Add(interval)))
	}
	ctx, stop := context.WithCancel(s.ctx)
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() { l.work(ctx) })
	}
	s.until("the end of all interactions", func() error {
		disturb()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.ended) < manyLoops {
			return fmt.Errorf("%d have ended", len(l.ended))
		}
		return nil
	})
	stop()
	workers.Wait()
	for _, at := range l.polls {
		polls += len(at)
		for i := range at[1:] {
			s.least(at[i], at[i+1], interval)
		}
	}
	return polls
}

var loopCase = testCase{name: "loop", streams: with(polls, func(c *broker.StreamConfig) {
	c.Consumers = []broker.ConsumerConfig{{Name: "c", Filter: "poll.a.*", AckWait: time.Second, MaxAckPending: -1}}
})}

func TestReserveThenPoll(t *testing.T) {
	t.Parallel()
	t.Run("server", func(t *testing.T) {
		n := runLoop(onTheServer(t, newServer(t), 0, loopCase), func() {})
		t.Logf("%d polls of %d interactions", n, manyLoops) // a slow machine skips polls
	})
	t.Run("fake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if n := runLoop(onTheFake(t, 0, loopCase), func() {}); n != manyLoops*lastPoll {
				t.Errorf("%d polls were made, want %d", n, manyLoops*lastPoll)
			}
		})
	})
	// Faults that a real broker does not show on demand.
	for name, options := range map[string]fake.Options{
		"crashes": {}, "crashes, late schedules": {FiresLate: 150 * time.Millisecond},
		"crashes, fired schedules visible": {FiredSeen: 50 * time.Millisecond},
	} {
		t.Run("fake, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := loopCase
				c.options = options
				s := onTheFake(t, 0, c)
				rounds := 0
				polls := runLoop(s, func() {
					switch rounds++; {
					case rounds > 200:
					case rounds%40 == 0:
						s.fake.Crash()
					case rounds%5 == 0:
						s.fake.Inject(fake.Fault{Op: fake.Publish, Delay: slack + 100*time.Millisecond})
					case rounds%9 == 0:
						s.fake.Inject(
							fake.Fault{Op: fake.Publish, Lost: fake.Answer},
							fake.Fault{Op: fake.Ack, Lost: fake.Request},
							fake.Fault{Op: fake.Ack, Delay: 2 * time.Second},
							fake.Fault{Op: fake.Pull, Lost: fake.Answer})
					}
				})
				t.Logf("%d polls of %d interactions in %d rounds", polls, manyLoops, rounds)
			})
		})
	}
}
