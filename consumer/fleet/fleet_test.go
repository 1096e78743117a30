package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

const limit = 60.0

// far is a broker with delays of requests and answers.
type far struct {
	*fake.Broker
	delay func() time.Duration // one way
}

func (b far) Publish(ctx context.Context, p broker.Publication) (broker.Ack, error) {
	time.Sleep(b.delay())
	defer func() { time.Sleep(b.delay()) }()
	return b.Broker.Publish(ctx, p)
}

func (b far) Subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	time.Sleep(b.delay())
	defer func() { time.Sleep(b.delay()) }()
	return b.Broker.Subjects(ctx, stream, filter)
}

func newBroker() *fake.Broker {
	return fake.New(fake.Options{}, broker.StreamConfig{
		Name: ns.StreamWorkers(), Subjects: []string{ns.SubjectsWorkers()}, DiscardNew: true, MaxPerSubject: 1,
		MaxAge: schema.AnnouncementMaxAge,
	})
}

// member is a running worker.
type member struct {
	*Fleet
	stop     func()
	failures []error
}

// join starts a worker. Its failures may be read when it has stopped.
func join(t *testing.T, b Broker, key string, rateLimit float64) *member {
	t.Helper()
	m := &member{Fleet: New(Config{
		Broker: b, Now: time.Now,
		Self: schema.Announcement{Worker: key, Host: "a-host", Started: time.Now().UTC(), RateLimit: rateLimit},
		Current: func() schema.Announcement {
			return schema.Announcement{State: schema.Paused, Cause: "throttled", Polls: 9}
		},
	})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.Keep(ctx, func(err error) { m.failures = append(m.failures, err) }); err != nil {
			m.failures = append(m.failures, err)
		}
	}()
	m.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(m.stop)
	return m
}

// announced returns the announcements in the bucket, by key.
func announced(t *testing.T, b *fake.Broker) map[string]schema.Announcement {
	t.Helper()
	all := map[string]schema.Announcement{}
	for _, m := range b.Stored(ns.StreamWorkers()) {
		var a schema.Announcement
		if err := json.Unmarshal(m.Data, &a); err != nil || m.Subject != ns.WorkerSubject(a.Worker) {
			t.Fatalf("%s on %s: %v", m.Data, m.Subject, err)
		}
		all[a.Worker] = a
	}
	return all
}

func TestFleetAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		second := join(t, b, "b", 0)
		synctest.Wait()
		if second.LiveWorkers() != 1 || !second.First() || second.Limiter() != nil {
			t.Errorf("alone it counts %d, first %t, limiter %v", second.LiveWorkers(), second.First(), second.Limiter())
		}
		first := join(t, b, "a", 0)
		time.Sleep(schema.AnnounceEvery)
		synctest.Wait()
		if first.LiveWorkers() != 2 || second.LiveWorkers() != 2 || !first.First() || second.First() {
			t.Errorf("two workers count %d and %d, first %t and %t", first.LiveWorkers(), second.LiveWorkers(),
				first.First(), second.First())
		}
		want := schema.Announcement{Worker: "a", Host: "a-host", State: schema.Paused, Cause: "throttled", Polls: 9}
		got := announced(t, b)["a"]
		if got.Worker != want.Worker || got.Host != want.Host || got.State != want.State || got.Cause != want.Cause ||
			got.Polls != want.Polls || got.PollsPerSecond != 3 || !got.At.Equal(time.Now()) {
			t.Errorf("it announces %+v, want %+v and 3 polls a second", got, want)
		}
		first.stop()
		first.Leave(t.Context())
		if a := announced(t, b)["a"]; a.State != schema.Stopped || a.Cause != "" {
			t.Errorf("its last announcement is %+v", a)
		}
		time.Sleep(schema.AnnouncementMaxAge + schema.AnnounceEvery)
		synctest.Wait()
		if second.LiveWorkers() != 1 || !second.First() {
			t.Errorf("it counts %d, first %t, after the other has expired", second.LiveWorkers(), second.First())
		}
	})
}

// Delays do not make announcements fail while each request is answered in time.
func TestFleetOnAFarBroker(t *testing.T) {
	for oneWay, works := range map[time.Duration]bool{
		0: true, 400 * time.Millisecond: true, answerWithin/2 - time.Millisecond: true, 2 * answerWithin: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			m := join(t, far{newBroker(), func() time.Duration { return oneWay }}, "a", limit)
			time.Sleep(time.Minute)
			synctest.Wait()
			m.stop()
			if (len(m.failures) == 0) != works || (m.Limiter().Share() == limit) != works {
				t.Errorf("with %s each way the share is %v, %d failures: %v; want it to work: %t",
					oneWay, m.Limiter().Share(), len(m.failures), m.failures, works)
			}
		})
	}
}

// A worker that joins takes no share until the others have reduced theirs. The sum of all shares never exceeds the
// limit.
func TestFleetSharesTheRateLimit(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			b := newBroker()
			var mu sync.Mutex
			upTo := func(d time.Duration) time.Duration {
				mu.Lock()
				defer mu.Unlock()
				return time.Duration(random.Int64N(int64(d)))
			}
			slow := upTo(answerWithin/2) + 1
			var running []*member
			for i := range 30 {
				if len(running) > 0 && upTo(3) == 0 { // it dies, or leaves
					running[0].stop()
					running = running[1:]
				} else {
					slowly := far{b, func() time.Duration { return upTo(slow) }}
					running = append(running, join(t, slowly, strconv.Itoa(i), limit))
				}
				for range upTo(200) {
					time.Sleep(100 * time.Millisecond)
					total := 0.0
					for _, m := range running {
						total += m.Limiter().Share()
					}
					if total > limit*1.000001 {
						t.Fatalf("seed %d: %d workers have %v polls per second, the limit is %v", seed, len(running),
							total, limit)
					}
				}
			}
			time.Sleep(schema.AnnouncementMaxAge + 2*schema.AnnounceEvery)
			synctest.Wait()
			for _, m := range running {
				want := limit / float64(len(running))
				if m.Limiter().Share() != want || m.LiveWorkers() != len(running) {
					t.Errorf("seed %d: one of %d workers has %v and counts %d", seed, len(running), m.Limiter().Share(),
						m.LiveWorkers())
				}
			}
		})
	}
}

// A worker that cannot reach the bucket keeps its share. When it can again, the others have shared that among them, and
// it joins again.
func TestFleetWithoutTheBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		m := join(t, b, "a", limit)
		time.Sleep(time.Minute + time.Second) // between two announcements
		b.Inject(fake.Fault{Err: broker.ErrNoAnswer, Times: 12})
		time.Sleep(18 * time.Second)
		synctest.Wait()
		if left := b.Uninject(); left != 0 || m.Limiter().Share() != limit {
			t.Errorf("without the bucket the share is %v, want the last one; %d requests were not made",
				m.Limiter().Share(), left)
		}
		time.Sleep(schema.AnnounceEvery)
		synctest.Wait()
		if got := m.Limiter().Share(); got != 0 {
			t.Errorf("after its announcement had expired the share is %v, want none", got)
		}
		time.Sleep(joinAfter + schema.AnnounceEvery)
		synctest.Wait()
		m.stop()
		if got := m.Limiter().Share(); got != limit || len(m.failures) != 6 {
			t.Errorf("then the share is %v after %d failures, want %v after 6", got, len(m.failures), limit)
		}
	})
}

// A closed connection ends it, because lanes that wait for a share do not notice it.
func TestFleetEndsWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		b.Close()
		m := join(t, b, "a", limit)
		synctest.Wait()
		m.stop()
		if len(m.failures) != 1 || !errors.Is(m.failures[0], broker.ErrClosed) {
			t.Errorf("it ended with %v, want %v", m.failures, broker.ErrClosed)
		}
	})
}
