package consumer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

var (
	_ consumer.StatusClient     = (*statusclient.Client)(nil)
	_ consumer.OutcomePublisher = (*publisher.Publisher)(nil)
)

// testStage is a stage with what only the tests of this package need.
type testStage struct{ *stage.Stage }

// onServer makes a stage on an embedded server: for tests of what the real broker does. The others use [inMemory].
func onServer(t *testing.T, mode consumer.Mode, change func(*consumer.Config)) *testStage {
	t.Helper()
	return newStage(t, stage.Options{Mode: mode}, change)
}

// inMemory makes a stage in memory. The test runs in a bubble.
func inMemory(t *testing.T, mode consumer.Mode, change func(*consumer.Config)) *testStage {
	t.Helper()
	// A real broker fires schedules 0.14 s late at the median.
	options := fake.Options{FiresLate: 140 * time.Millisecond}
	return newStage(t, stage.Options{Mode: mode, InMemory: true, Fake: options}, change)
}

func newStage(t *testing.T, o stage.Options, change func(*consumer.Config)) *testStage {
	t.Helper()
	if change != nil {
		change(&o.Worker)
	}
	return &testStage{stage.New(t, o)}
}

// modes runs a test in both modes, in parallel.
func modes(t *testing.T, test func(t *testing.T, mode consumer.Mode)) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

// bubble runs a test in a bubble, in parallel with others.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, test)
}

// bubbles runs a test in both modes, each in a bubble.
func bubbles(t *testing.T, test func(t *testing.T, mode consumer.Mode)) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			bubble(t, func(t *testing.T) { test(t, mode) })
		})
	}
}

// observed is a publisher that calls a function after it has stored an outcome, and before the worker continues.
type observed struct {
	consumer.OutcomePublisher
	stored func(schema.Outcome)
}

func (o observed) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	err := o.OutcomePublisher.Publish(ctx, outcomes...)
	if err == nil {
		o.stored(outcomes[0])
	}
	return err
}

// pause pauses a consumer of the server.
func (s *testStage) pause(stream, name string) (resume func()) {
	s.T.Helper()
	_, err := s.JS.PauseConsumer(s.Ctx, stream, name, time.Now().Add(time.Hour))
	s.Check(err)
	return func() {
		s.T.Helper()
		_, err := s.JS.ResumeConsumer(s.Ctx, stream, name)
		s.Check(err)
	}
}

// declareUntilAccepted declares an interaction, again while the broker answers that its declared message waits.
func (s *testStage) declareUntilAccepted(typ schema.Type, id string) {
	s.T.Helper()
	p := broker.Publication{Subject: ns.DeclaredSubject(typ, id), Data: stage.Declaration(typ, id)}
	s.publishUntilAccepted(p)
}

// publishUntilAccepted publishes a message, again while the broker answers that another one waits on its subject.
func (s *testStage) publishUntilAccepted(p broker.Publication) broker.Ack {
	s.T.Helper()
	var ack broker.Ack
	s.Until("the broker to accept "+p.Subject, func() bool {
		var err error
		ack, err = s.TryPublish(p)
		if err != nil && !errors.Is(err, broker.ErrMaxPerSubject) {
			s.T.Fatal(err)
		}
		return err == nil
	})
	return ack
}

// waitOutcomeOn returns when an outcome is stored on a subject, whatever else is stored before.
func (s *testStage) waitOutcomeOn(subject string) {
	s.T.Helper()
	for n := 1; s.WaitOutcomes(n)[n-1].Subject != subject; {
		n++
	}
}

// wantProcessed waits until an audio has its processed events, one for each destination, and nothing else is stored.
func (s *testStage) wantProcessed(id string) {
	s.T.Helper()
	var want []string
	for _, to := range (schema.Declared{Type: schema.Audio}).Destinations() {
		want = append(want, ns.ProcessedSubject(to, id))
	}
	s.WantOutcomes(want...)
}
