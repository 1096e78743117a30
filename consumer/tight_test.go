package consumer_test

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

// chats polls chats for some time, and returns the times between their polls, in order. No poll may be early.
func (s *testStage) chats(n int, during time.Duration, p ...stage.Ports) (gaps []time.Duration) {
	s.T.Helper()
	var ids []string
	for range n {
		ids = append(ids, s.Declare(schema.Chat, simulator.Never()))
	}
	w := s.Start(p...)
	time.Sleep(during)
	w.End()
	s.CheckIntervals()
	for _, id := range ids {
		polls := s.Vendor.PollsOf(id)
		for i := range max(0, len(polls)-1) {
			gaps = append(gaps, polls[i+1].At.Sub(polls[i].At))
		}
	}
	slices.Sort(gaps)
	if len(gaps) == 0 {
		s.T.Fatal("nothing was polled twice")
	}
	return gaps
}

func mean(gaps []time.Duration) time.Duration {
	sum := time.Duration(0)
	for _, g := range gaps {
		sum += g
	}
	return sum / time.Duration(len(gaps))
}

// aimed is the maximum mean time between two polls of a chat: 1.03 times the poll interval of 5 s, plus 0.35 s.
const aimed = 5500 * time.Millisecond

// slowStores is a broker that takes some time to store a reservation.
type slowStores struct {
	*fake.Broker
	takes func() time.Duration
}

func (s slowStores) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	if ns.IsPollSubject(p.Subject) {
		return s.Broker.Publish(ctx, p)
	}
	time.Sleep(s.takes())
	return s.Broker.Publish(ctx, p)
}

// However slow or irregular broker, connections and answers are, polls are not much further apart than they must be,
// they do not stop, and none is early. After a slow answer, the interval begins with the answer.
func TestTightIntervals(t *testing.T) {
	// The same numbers in each run: with others, the mean of a run would be up to 0.07 s larger.
	seldom := func(share float64, usual, slow time.Duration) func() time.Duration {
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(1, 2))
		return func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			if random.Float64() < share {
				return slow
			}
			return usual
		}
	}
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		stores, connects, answers func() time.Duration
		closes                    bool // each connection, after one request
		most                      time.Duration
	}{
		"all is fast":              {nil, nil, nil, false, 5300 * ms},
		"a store is slow at times": {seldom(0.02, 5*ms, 300*ms), nil, nil, false, 5350 * ms},
		"stores are often slow":    {seldom(0.2, 5*ms, 300*ms), nil, nil, false, 5700 * ms},
		"stores take 3 s":          {seldom(0, 3*time.Second, 0), nil, nil, false, 9 * time.Second},
		"connections are slow":     {nil, seldom(0, 300*ms, 0), nil, false, 5300 * ms},
		"a connection for each":    {nil, seldom(0, 300*ms, 0), nil, true, 5700 * ms},
		"answers after 0.2 s":      {nil, nil, seldom(0, 200*ms, 0), false, aimed},
		"answers after 2 s":        {nil, nil, seldom(0, 2*time.Second, 0), false, 7200 * ms},
		"an answer is slow":        {nil, nil, seldom(0.05, 10*ms, 2*time.Second), false, aimed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := withRealIntervals(t, consumer.Schedule)
				s.Config.Concurrency = 16
				ports := stage.Ports{Client: s.slowVendor(tt.connects, tt.answers, tt.closes)}
				if tt.stores != nil {
					ports.Broker = slowStores{s.Fake, tt.stores}
				}
				gaps := s.chats(20, 10*time.Minute, ports)
				t.Logf("%d gaps, mean %s, least %s, p99 %s", len(gaps), mean(gaps), gaps[0], gaps[len(gaps)*99/100])
				if got := mean(gaps); got > tt.most {
					t.Errorf("the mean interval is %s, want %s at most", got, tt.most)
				}
			})
		})
	}
}

// slowVendor is a client of the vendor whose connections and answers take some time.
func (s *testStage) slowVendor(connects, answers func() time.Duration, closes bool) *statusclient.Client {
	s.T.Helper()
	return s.ClientWith(statusclient.Config{
		Token: simulator.DefaultToken, Concurrency: 16,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if connects != nil {
				time.Sleep(connects())
			}
			c, err := s.Dial(ctx, network, address)
			return slowAnswers{c, answers, closes}, err
		},
	})
}

// slowAnswers is a connection to a vendor that takes some time to answer. It may close it after one answer.
type slowAnswers struct {
	net.Conn
	takes  func() time.Duration
	closes bool
}

func (s slowAnswers) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.takes != nil && n > 0 {
		time.Sleep(s.takes())
	}
	if s.closes && n > 0 {
		_ = s.Close()
	}
	return n, err
}

// Requests that take some time to the vendor, once in a while, make no next poll early.
func TestSlowWayToTheVendor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, stage.Options{Mode: consumer.Schedule, InMemory: true}, func(c *consumer.Config) {
			c.Intervals = consumer.Guidance
		})
		client := s.ClientWith(statusclient.Config{
			Token: simulator.DefaultToken,
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := s.Dial(ctx, network, address)
				return slowWrites{c, func() {
					if rand.IntN(20) == 0 {
						time.Sleep(200 * time.Millisecond)
					}
				}}, err
			},
		})
		gaps := s.chats(50, 10*time.Minute, stage.Ports{Client: client})
		t.Logf("%d gaps, mean %s, least %s", len(gaps), mean(gaps), gaps[0])
		if got := mean(gaps); got > 5200*time.Millisecond {
			t.Errorf("the mean interval is %s", got)
		}
	})
}

// A thousand interactions that are declared in one instant are not polled in one instant: not at first, and not later.
func TestDeclaredTogetherArePolledApart(t *testing.T) {
	const n, window = 1000, 20 * time.Millisecond
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) { c.Intervals, c.Concurrency = consumer.Guidance, 256 })
		ids := make([]string, n)
		for i := range ids {
			ids[i] = s.Declare(schema.Chat, simulator.Never())
		}
		w := s.Start()
		time.Sleep(70 * time.Second)
		w.End()
		s.CheckIntervals()
		byNumber := map[int][]time.Time{}
		for _, p := range s.Vendor.Polls() {
			byNumber[p.Number] = append(byNumber[p.Number], p.At)
		}
		for _, number := range []int{1, 2, 10} {
			times := byNumber[number]
			if len(times) != n {
				t.Fatalf("%d polls with the number %d, want %d", len(times), number, n)
			}
			slices.SortFunc(times, time.Time.Compare)
			together, first := 0, 0
			for last := range times {
				for times[last].Sub(times[first]) > window {
					first++
				}
				together = max(together, last-first+1)
			}
			t.Logf("poll %d: at most %d of %d within %s, all within %s", number, together, n, window,
				times[n-1].Sub(times[0]))
			// Evenly spread over half a second, 40 are together.
			if together > n/10 {
				t.Errorf("poll %d: %d of %d within %s", number, together, n, window)
			}
		}
	})
}
