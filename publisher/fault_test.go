package publisher_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/broker/fake"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// race publishes concurrently with new publishers, and returns the sum of their stats.
func (s *stage) race(of func(racer int) []schema.Outcome) publisher.Stats {
	s.t.Helper()
	const racers = 16
	var all sync.WaitGroup
	var mu sync.Mutex
	var sum publisher.Stats
	start := make(chan struct{})
	for i := range racers {
		p := s.fresh()
		all.Go(func() {
			<-start
			if err := p.Publish(s.ctx, of(i)...); err != nil {
				s.t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got := p.Stats()
			sum.Published += got.Published
			sum.Repeated += got.Repeated
			sum.Contradictions += got.Contradictions
		})
	}
	close(start)
	all.Wait()
	return sum
}

func TestPublishRace(t *testing.T) {
	brokers(t, func(t *testing.T, s *stage) {
		for range 5 {
			both := processed(uuid.NewString(), generation)
			sum := s.race(func(int) []schema.Outcome { return both })
			if sum.Published != 2 || sum.Repeated != 30 || sum.Contradictions != 0 {
				t.Errorf("stats of 16 publishers of the same two outcomes: %+v", sum)
			}
			s.want(both...)
		}
	})
}

// Exactly one of several contradicting outcomes is stored, and each of the others is counted.
func TestPublishRaceOfContradictions(t *testing.T) {
	brokers(t, func(t *testing.T, s *stage) {
		for range 5 {
			id := uuid.NewString()
			ways := [][]schema.Outcome{processed(id, generation), {failed(id, generation, schema.ProcessingFailed)}}
			sum := s.race(func(i int) []schema.Outcome { return ways[i%2] })
			won := ways[0]
			if s.stored(id)[0].Subject == ns.OutcomeSubject(ways[1][0]) {
				won = ways[1]
			}
			s.want(won...)
			if sum.Contradictions != 8 || sum.Published != uint64(len(won)) || sum.Repeated != uint64(7*len(won)) {
				t.Errorf("stats of 8 publishers for each of two contradicting outcomes: %+v, %d stored", sum, len(won))
			}
		}
	})
}

func TestPublishWhileBrokerIsDown(t *testing.T) {
	t.Parallel()
	s := onServer(t, remembered)
	p := s.fresh()
	both := processed(uuid.NewString(), generation)
	s.stop()

	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	if err := p.Publish(ctx, both...); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish without a broker: %v, want DeadlineExceeded", err)
	}
	tried := p.Stats().Retries
	if tried == 0 {
		t.Error("Publish without a broker did not retry")
	}

	done := make(chan error)
	go func() { done <- p.Publish(s.ctx, both...) }()
	for p.Stats().Retries < tried+2 {
		select {
		case err := <-done:
			t.Fatalf("Publish without a broker: %v, want it to wait", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := s.server.StartAgain(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("Publish after the broker's restart: %v", err)
	}
	s.want(both...)
}

// At the end of its context, Publish returns the last error of the broker, too.
func TestPublishReturnsTheLastError(t *testing.T) {
	t.Parallel()
	s := newStage(t, remembered)
	p := s.fresh()
	s.fake.Inject(fake.Fault{Op: fake.Publish, Times: 1000, Err: broker.ErrFull})
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	o := failed(uuid.NewString(), generation, schema.Rejected)
	var e *broker.Error
	if err := p.Publish(ctx, o); !errors.As(err, &e) || !errors.Is(e.Kind, broker.ErrFull) ||
		e.Object != ns.OutcomeSubject(o) ||
		!errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish with full storage: %v, want ErrFull of %s and DeadlineExceeded", err, ns.OutcomeSubject(o))
	}
}

func TestPublishWithoutItsStream(t *testing.T) {
	t.Parallel()
	s := onServer(t, remembered)
	p := s.fresh()
	if err := s.server.js.DeleteStream(s.ctx, ns.StreamOutcomes()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Second)
	defer cancel()
	o := failed(uuid.NewString(), generation, schema.Rejected)
	err := p.Publish(ctx, o)
	var e *broker.Error
	if !errors.Is(err, jetstream.ErrNoStreamResponse) || !errors.As(err, &e) || e.Object != ns.OutcomeSubject(o) {
		t.Errorf("Publish without its stream: %v, want ErrNoStreamResponse of %s", err, ns.OutcomeSubject(o))
	}
}

// Permanent errors are not retried.
func TestPublishPermanentError(t *testing.T) {
	t.Parallel()
	s := newStage(t, remembered)
	noJSON, huge := failed(uuid.NewString(), generation, schema.Rejected), failed(uuid.NewString(), generation,
		schema.Rejected)
	noJSON.Reason, noJSON.Destination, noJSON.Declaration = "", schema.ToCXAI, json.RawMessage(`{`)
	huge.Origin.Stream = strings.Repeat("x", 2<<20) // the only part without a limit
	for name, o := range map[string]schema.Outcome{"not JSON": noJSON, "too large": huge} {
		p := s.fresh()
		err := p.Publish(s.ctx, o)
		if err == nil || p.Stats().Published+p.Stats().Repeated+p.Stats().Contradictions+p.Stats().Retries != 0 {
			t.Errorf("%s: Publish = %v with stats %+v, want an error without a retry", name, err, p.Stats())
		}
		if name == "too large" && !errors.Is(err, broker.ErrTooLarge) {
			t.Errorf("%s: error %v, want ErrTooLarge", name, err)
		}
		if n := len(s.stored(o.Identifier)); n != 0 {
			t.Errorf("%s: %d outcomes are stored, want none", name, n)
		}
	}

	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	o := failed(uuid.NewString(), generation, schema.Rejected)
	if err := s.fresh().Publish(ended, o); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish with a canceled context: %v, want Canceled", err)
	}
}

func TestNewWithoutStream(t *testing.T) {
	t.Parallel()
	b := fake.New(fake.Options{})
	defer b.Close()
	_, err := publisher.New(t.Context(), b, ns, logrus.New())
	var e *broker.Error
	if !errors.As(err, &e) || !errors.Is(e.Kind, broker.ErrStreamNotFound) || e.Object != ns.StreamOutcomes() {
		t.Errorf("New without the stream: %v, want ErrStreamNotFound of %s", err, ns.StreamOutcomes())
	}
}
