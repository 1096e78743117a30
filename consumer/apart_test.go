package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// slowestAnswer is how long the vendor takes to answer at most.
const slowestAnswer = 500 * time.Millisecond

// chaos makes faults at random.
type chaos struct {
	*testStage
	*rand.Rand
	seed     uint64
	mu       sync.Mutex // held to use answered
	answered time.Time  // when all slow requests are answered
	workers  []*stage.Worker
	leaders  []time.Duration // how far the clock of each server is ahead
	events   []string
}

func (c *chaos) upTo(d time.Duration) time.Duration { return time.Duration(c.Int64N(int64(d) + 1)) }

// slow is a delay that depends on the seed and the time only: it is for goroutines that run at once. It is up to most
// for one in so many times, and otherwise 0.
func (c *chaos) slow(most time.Duration, one int) time.Duration {
	now := rand.New(rand.NewPCG(c.seed, uint64(time.Now().UnixNano())))
	if now.IntN(one) > 0 {
		return 0
	}
	return time.Duration(now.Int64N(int64(most) + 1))
}

func (c *chaos) note(format string, args ...any) {
	c.events = append(c.events, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// start starts a worker on a host whose clock is wrong, and whose connections to the vendor are slow at times: after
// the client has checked that the request is written in time, it takes up to 200 ms to the vendor, which is the longest
// way that the worker allows for at an interval of 5 s.
func (c *chaos) start() {
	skew := c.upTo(time.Hour) - 30*time.Minute
	c.Config.Now = func() time.Time { return time.Now().Add(skew) }
	client := c.ClientWith(statusclient.Config{
		Token: simulator.DefaultToken, Timeout: c.Config.RequestTimeout,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(c.slow(150*time.Millisecond, 1))
			conn, err := c.Dial(ctx, network, address)
			return slowWrites{conn, func() {
				if wait := c.slow(200*time.Millisecond, 10); wait > 0 {
					c.answers(wait + slowestAnswer + time.Millisecond)
					time.Sleep(wait)
				}
			}}, err
		},
	})
	c.workers = append(c.workers, c.Start(stage.Ports{Client: client}))
	c.note("worker starts, its clock is %s ahead", skew)
}

// answers records that a slow request is answered within a time, and returns when all of them are.
func (c *chaos) answers(within time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := time.Now().Add(within); at.After(c.answered) {
		c.answered = at
	}
	return time.Until(c.answered)
}

// slowWrites is a connection on which what is written takes some time to the other side.
type slowWrites struct {
	net.Conn
	wait func()
}

func (s slowWrites) Write(p []byte) (int, error) {
	s.wait()
	return s.Conn.Write(p)
}

// fault makes one fault.
func (c *chaos) fault() {
	switch c.IntN(10) {
	case 0, 1, 2:
		n := c.IntN(len(c.leaders))
		c.Fake.StepDownTo(fmt.Sprint("n", n), c.leaders[n])
		c.note("n%d leads, %s ahead", n, c.leaders[n])
	case 3:
		c.Fake.Restart()
		c.note("restart")
	case 4:
		c.Fake.Crash()
		c.note("crash")
	case 5:
		c.start()
	case 6, 7:
		if len(c.workers) > 1 {
			i := c.IntN(len(c.workers))
			if c.IntN(2) == 0 {
				// Nobody postpones the poll after a slow request whose worker has died.
				for wait := c.answers(0); wait > 0; wait = c.answers(0) {
					time.Sleep(wait)
				}
				c.workers[i].Kill()
			} else {
				c.workers[i].Stop()
			}
			c.workers = append(c.workers[:i:i], c.workers[i+1:]...)
			c.note("worker ends")
		} else {
			c.start()
		}
	case 8:
		slow := []fake.Fault{
			{Op: fake.Publish, Object: ns.SubjectsHold(), Times: 1 + c.IntN(5), Delay: c.upTo(3 * time.Second)},
			{Op: fake.Ack, Object: ns.SubjectsPoll(), Times: 1 + c.IntN(5), Lost: fake.Request},
			{Op: fake.Publish, Object: ns.SubjectsHold(), Times: 1 + c.IntN(3), Lost: fake.Answer},
			{Op: fake.Stream, Delay: c.upTo(2 * time.Second)},
		}[c.IntN(4)]
		c.Fake.Inject(slow)
		c.note("%s of %s: %s, lost %d", slow.Op, slow.Object, slow.Delay, slow.Lost)
	case 9:
		for _, typ := range schema.Types() {
			for _, m := range c.Fake.Stored(ns.StreamPolls()) {
				c.Fake.Redeliver(ns.StreamPolls(), ns.PollConsumer(typ), m.Sequence)
			}
		}
		c.note("redelivery")
	}
}

// Three servers whose clocks are up to 600 ms apart lead in turn, workers start and die, the broker is restarted and
// killed, stores and acks are slow or lost, and connections to the vendor are slow, in any order: no poll comes too
// early, and every interaction gets its outcome.
func TestClockOfLeadersApartOnAStage(t *testing.T) {
	base := rand.Uint64()
	for n := range uint64(10) {
		seed := base + n
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { leadersApart(t, seed) })
		})
	}
}

func leadersApart(t *testing.T, seed uint64) {
	s := newStage(t, stage.Options{Mode: consumer.Schedule, InMemory: true}, func(c *consumer.Config) {
		c.Intervals = consumer.Intervals{Audio: 15 * time.Second, Chat: 5 * time.Second, Transcript: 5 * time.Second}
	})
	const apart = 300 * time.Millisecond
	c := &chaos{testStage: s, Rand: rand.New(rand.NewPCG(seed, 0)), seed: seed}
	for range 3 {
		c.leaders = append(c.leaders, c.upTo(2*apart)-apart)
	}
	s.Fake.StepDownTo("n0", c.leaders[0])
	c.start()
	c.start()
	var subjects []string
	for range 30 {
		typ := schema.Types()[c.IntN(3)]
		delayed := simulator.Fault{Kind: simulator.Delayed, Delay: c.upTo(slowestAnswer)}.Sometimes(0.3)
		id := s.Declare(typ, simulator.Processed(30*time.Second+c.upTo(2*time.Minute)).With(delayed))
		for _, to := range (schema.Declared{Type: typ}).Destinations() {
			subjects = append(subjects, ns.ProcessedSubject(to, id))
		}
	}
	for began := time.Now(); time.Since(began) < 2*time.Minute; {
		time.Sleep(c.upTo(4 * time.Second))
		c.fault()
	}
	c.start()
	s.WantOutcomes(subjects...)
	s.WaitDrained()
	if s.CheckIntervals(); t.Failed() {
		for _, e := range c.events {
			t.Log(e)
		}
	}
}
