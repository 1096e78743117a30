package consumer_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/consumer/redelivery"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// anchors returns how many anchors are stored.
func (s *testStage) anchors() uint64 {
	s.T.Helper()
	subjects, err := s.Broker.Subjects(s.Ctx, schema.StreamPolls, schema.SubjectAnchor)
	s.Check(err)
	return subjects[schema.SubjectAnchor]
}

// Workers store an anchor that was deleted, alone or with everything else, and only one of them does. When the messages
// before it have been polled once, it is the first of the stream.
func TestWorkersKeepTheAnchor(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, func(c *consumer.Config) { c.OverdueAfter = 200 * time.Millisecond })
	polls, err := s.JS.Stream(s.Ctx, schema.StreamPolls)
	s.Check(err)
	for range 3 {
		s.Start()
	}
	s.Declare(schema.Chat, simulator.Never())
	s.WaitPolls(1)
	for name, purge := range map[string][]jetstream.StreamPurgeOpt{
		"the anchor": {jetstream.WithPurgeSubject(schema.SubjectAnchor)},
		"all":        nil,
	} {
		s.Check(polls.Purge(s.Ctx, purge...))
		s.Declare(schema.Chat, simulator.Never())
		s.Until(name+" purged: the anchor to be the first message again", func() bool {
			state, err := s.Broker.Stream(s.Ctx, schema.StreamPolls)
			s.Check(err)
			m, err := s.Broker.Get(s.Ctx, schema.StreamPolls, state.First)
			if errors.Is(err, broker.ErrNotFound) {
				return false
			}
			s.Check(err)
			return m.Subject == schema.SubjectAnchor && state.Messages > 1
		})
		if n := s.anchors(); n != 1 {
			t.Errorf("%s purged: %d anchors", name, n)
		}
	}
}

// Of several workers that find no anchor at the same time, one stores it.
func TestAnchorIsStoredOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		// All have read that there is none before the first one stores it.
		s.Fake.Inject(fake.Fault{Op: fake.Publish, Object: schema.SubjectAnchor, Delay: time.Second, Times: 4})
		var n atomic.Int32
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				stored, err := redelivery.KeepAnchor(s.Ctx, s.Broker)
				if err != nil {
					t.Error(err)
				}
				if stored {
					n.Add(1)
				}
			})
		}
		workers.Wait()
		if n.Load() != 1 || s.anchors() != 1 {
			t.Errorf("%d stored it, %d are stored", n.Load(), s.anchors())
		}
	})
}

// Workers run without an anchor. When the stream accepts its subject, they store one.
func TestWorkersWithoutTheSubjectOfTheAnchor(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, func(c *consumer.Config) { c.OverdueAfter = 200 * time.Millisecond })
	polls, err := s.JS.Stream(s.Ctx, schema.StreamPolls)
	s.Check(err)
	s.Check(polls.Purge(s.Ctx))
	accept := func(subjects ...string) {
		changed := polls.CachedInfo().Config
		changed.Subjects = subjects
		_, err := s.JS.UpdateStream(s.Ctx, changed)
		s.Check(err)
	}
	accept(schema.SubjectsHold, schema.SubjectsPoll)
	s.Start()
	id := s.Declare(schema.Chat, simulator.Processed(0))
	s.WantOutcomes(schema.ProcessedSubject(schema.ToCXAI, id))
	s.WaitDrained()
	accept(schema.SubjectsHold, schema.SubjectsPoll, schema.SubjectAnchor)
	s.Until("an anchor", func() bool { return s.anchors() == 1 })
}

// With delayed naks, there is no anchor.
func TestNoAnchorWithNaks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Nak, nil)
		s.Start()
		time.Sleep(10 * time.Minute)
		for _, stream := range consumer.Nak.Streams() {
			if n := s.Stored(stream); n != 0 {
				t.Errorf("%d messages in %s, want none", n, stream)
			}
		}
	})
}
