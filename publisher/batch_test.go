package publisher_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/fake"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
)

// Both processed events of an interaction are one publish where the stream stores atomic batches.
func TestPublishBoth(t *testing.T) {
	brokers(t, func(t *testing.T, s *stage) {
		both := processed(uuid.NewString(), generation)
		s.publish(publisher.Stats{Published: 2}, both...)
		want := int64(1)
		if s.single {
			want = 2
		}
		if got := s.publishes.Load(); got != want {
			t.Errorf("%d publishes of two processed events, want %d", got, want)
		}
		s.want(both...)
	})
}

// If the broker rejects one of two processed events, none is stored.
func TestPublishBothWhileOneIsRejected(t *testing.T) {
	t.Parallel()
	for i := range 2 {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, remembered)
			both := processed(uuid.NewString(), generation)
			p := s.fresh()
			s.fake.Inject(fake.Fault{
				Op: fake.Publish, Object: ns.OutcomeSubject(both[i]), Err: broker.ErrRejected, Times: 1 << 20,
			})
			ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
			defer cancel()
			if err := p.Publish(ctx, both...); !errors.Is(err, context.DeadlineExceeded) || p.Stats().Retries == 0 {
				t.Errorf("Publish = %v with stats %+v, want DeadlineExceeded after retries", err, p.Stats())
			}
			if n := len(s.stored(both[0].Identifier)); n != 0 {
				t.Errorf("%d outcomes are stored, want none", n)
			}
			s.fake.Uninject()
			s.publish(publisher.Stats{Published: 2}, both...)
			s.want(both...)
		})
	}
}

// A worker dies at any moment of a publish: both processed events are stored, or none. The next worker stores what is
// missing, or finds both.
func TestPublishBothBeforeACrash(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lost   fake.Lost
		stored int
		next   publisher.Stats
	}{
		"before the broker received them": {fake.Request, 0, publisher.Stats{Published: 2}},
		"after the broker stored them":    {fake.Answer, 2, publisher.Stats{Repeated: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, remembered)
				both := processed(uuid.NewString(), generation)
				p := s.fresh()
				s.fake.Inject(fake.Fault{Op: fake.Publish, Object: ns.OutcomeSubject(both[1]), Lost: c.lost})
				ctx, die := context.WithTimeout(s.ctx, time.Second)
				defer die()
				if err := p.Publish(ctx, both...); !errors.Is(err, broker.ErrNoAnswer) {
					t.Errorf("Publish = %v, want %v", err, broker.ErrNoAnswer)
				}
				if n := len(s.stored(both[0].Identifier)); n != c.stored {
					t.Errorf("%d outcomes are stored, want %d", n, c.stored)
				}
				s.publish(c.next, both...)
				s.want(both...)
			})
		})
	}
}

// If the answer is lost, the same publisher finds what it has stored.
func TestPublishBothWithALostAnswer(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{longWindow, shortWindow} { // the broker remembers the IDs, or not
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, kind{window: window})
			both := processed(uuid.NewString(), generation)
			s.fake.Inject(fake.Fault{Op: fake.Publish, Lost: fake.Answer})
			s.publish(publisher.Stats{Repeated: 2, Retries: 1}, both...)
			s.want(both...)
		})
	}
}

// A delayed batch takes effect after its repetition. It is rejected.
func TestPublishBothWithADelay(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{longWindow, shortWindow} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, kind{window: window})
			both := processed(uuid.NewString(), generation)
			s.fake.Inject(fake.Fault{Op: fake.Publish, Delay: 5 * time.Second})
			s.publish(publisher.Stats{Published: 2, Retries: 1}, both...)
			time.Sleep(10 * time.Second)
			s.want(both...)
		})
	}
}

// A contradicting outcome is stored between the decision and the batch: nothing of the batch is stored.
func TestPublishBothBesideAContradiction(t *testing.T) {
	brokers(t, func(_ *testing.T, s *stage) {
		id := uuid.NewString()
		dead := failed(id, generation, schema.NotFound)
		s.publish(publisher.Stats{Published: 1}, dead)
		s.publish(publisher.Stats{Contradictions: 1}, processed(id, generation)...)
		s.want(dead)
	})
}

// The stream stops storing batches while a publisher uses them: it continues with single publishes.
func TestPublishBothOnAStreamThatStopsStoringBatches(t *testing.T) {
	t.Parallel()
	s := onServer(t, remembered)
	p := s.fresh()
	cfg := remembered.topology().Streams[0]
	cfg.AllowAtomicPublish = false
	if _, err := s.server.js.UpdateStream(s.ctx, cfg); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		both := processed(uuid.NewString(), generation)
		if err := p.Publish(s.ctx, both...); err != nil {
			t.Fatal(err)
		}
		s.want(both...)
	}
	if got := s.publishes.Load(); got != 5 {
		t.Errorf("%d publishes, want a batch and four single ones", got)
	}
	if got := p.Stats(); got.Published != 4 || got.Retries != 0 {
		t.Errorf("stats %+v, want 4 published without a retry", got)
	}
}

// A worker without batches and one with batches publish the same processed events.
func TestPublishBothBesideSinglePublishes(t *testing.T) {
	brokers(t, func(_ *testing.T, s *stage) {
		for i := range 2 {
			both := processed(uuid.NewString(), generation)
			s.publish(publisher.Stats{Published: 1}, both[i])
			s.publish(publisher.Stats{Published: 1, Repeated: 1}, both...)
			s.want(both[i], both[1-i])
		}
	})
}
