package consumer_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/publisher"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

var (
	_ consumer.StatusClient     = (*statusclient.Client)(nil)
	_ consumer.OutcomePublisher = (*publisher.Publisher)(nil)
)

// testStage is a stage with what only the tests of this package need.
type testStage struct{ *stage.Stage }

// newStage makes a stage on an embedded server.
func newStage(t *testing.T, mode consumer.Mode, change func(*consumer.Config)) *testStage {
	t.Helper()
	o := stage.Options{Mode: mode}
	if change != nil {
		change(&o.Worker)
	}
	return &testStage{stage.New(t, o)}
}

// modes runs a test in both modes.
func modes(t *testing.T, test func(t *testing.T, mode consumer.Mode)) {
	for _, mode := range []consumer.Mode{consumer.Schedule, consumer.Nak} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

// onStored calls do for each outcome that is stored on a subject, as soon as the server delivers it.
func (s *testStage) onStored(subject string, do func(id string)) {
	s.T.Helper()
	c, err := s.JS.OrderedConsumer(
		s.Ctx,
		schema.StreamOutcomes,
		jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}},
	)
	s.Check(err)
	consuming, err := c.Consume(func(m jetstream.Msg) {
		_, id, _ := schema.SplitSubject(m.Subject())
		do(id)
	})
	s.Check(err)
	s.T.Cleanup(consuming.Stop)
}

// declareUntilAccepted declares an interaction, again while the broker answers that its declared message waits.
func (s *testStage) declareUntilAccepted(typ schema.Type, id string) {
	s.T.Helper()
	p := broker.Publication{Subject: schema.DeclaredSubject(typ, id), Data: stage.Declaration(typ, id)}
	s.Until("the broker to accept "+p.Subject, func() bool {
		_, err := s.TryPublish(p)
		if err != nil && !errors.Is(err, broker.ErrMaxPerSubject) && !errors.Is(err, broker.ErrNoAnswer) {
			s.T.Fatal(err)
		}
		return err == nil
	})
}

func TestEveryTypeReachesItsSubjects(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		var want []string
		for _, typ := range schema.Types() {
			for n := range len(schema.Flags()) + 1 {
				var members []string
				if n > 0 {
					f := schema.Flags()[n-1]
					members = append(members, fmt.Sprintf("%q:%t", f, !f.Default()))
				}
				// Three seconds are several polls, in both modes.
				id := s.Declare(typ, simulator.Processed(3*time.Second).With(stage.PendingOnce), members...)
				d, err := schema.Decode(stage.Declaration(typ, id, members...))
				s.Check(err)
				for _, to := range d.Destinations() {
					want = append(want, schema.ProcessedSubject(to, id))
				}
			}
		}
		s.Start()
		s.WantOutcomes(want...)
		s.WaitDrained()
		s.CheckIntervals()
		s.WantOutcomes(want...)
	})
}
