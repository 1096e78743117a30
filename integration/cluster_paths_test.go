package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// takesAllPaths has every type and route, every reason to fail, and interactions that are declared more than once, all
// on one set of lanes.
func (s *scenario) takesAllPaths(*harness.Cluster) {
	s.t.Helper()
	for _, life := range []time.Duration{0, 1500 * time.Millisecond, 4 * time.Second} {
		s.declareAll(processed(life))
	}
	for _, typ := range schema.Types() {
		s.declareAll(failing(typ, 1500*time.Millisecond))
	}
	s.declareTwiceAtEachStage()
	s.finish()
}

// declareTwiceAtEachStage declares the interaction of each stage once more when it has come to it, and those that have
// ended again. It starts the workers.
func (s *scenario) declareTwiceAtEachStage() {
	s.t.Helper()
	one := func(script simulator.Script, kinds ...string) interaction {
		i := interaction{identifier: uuid.NewString(), typ: schema.Chat, script: &script, kinds: kinds}
		s.declareAll([]interaction{i})
		return i
	}
	life := simulator.Processed(3 * time.Second)

	untaken := one(life, "processed.cxai")
	if err := s.declare(s.ctx, untaken); !isStoredAlready(err) {
		s.t.Errorf(
			"declaring twice before it is taken in: %v, want the refusal of a second message on the subject",
			err,
		)
	}
	if s.mode == consumer.Schedule {
		s.declareAgainWhileDue()
	}
	s.startThree()

	reserved := one(life, "processed.cxai")
	if s.mode == consumer.Schedule {
		s.awaitStored(schema.HoldSubject(reserved.typ, reserved.identifier))
	}
	s.twice(reserved)

	polled := one(life, "processed.cxai")
	again := make(chan error, 1)
	s.vendor.OnPoll(func(p simulator.Poll) {
		// It has not been answered yet.
		if p.Identifier == polled.identifier && p.Number == 2 {
			again <- s.declareAgain(polled)
		}
	})
	select {
	case err := <-again:
		harness.Check(s.t, err)
	case <-s.ctx.Done():
		s.t.Fatal("there was no second poll")
	}
	s.vendor.OnPoll(nil)

	pending := one(life, "processed.cxai")
	harness.Check(s.t, s.vendor.WaitPollsOf(s.ctx, pending.identifier, 1))
	s.twice(pending)

	// Ended, and the tombstone is there or just coming; ended, and it has gone. Results that were handed on once are
	// not handed on again; what had failed gets another outcome.
	success, failure := simulator.Processed(0), simulator.Failed(schema.StatusProcessingFailed, 0)
	var ended []interaction
	for range 2 {
		ended = append(ended, one(success, "processed.cxai"), one(failure, failed), one(failure, failed))
	}
	for n, i := range ended {
		harness.Check(s.t, s.oracle.Await(s.ctx, harness.Expected{i.identifier: i.kinds}))
		if n >= len(ended)/2 {
			s.awaitNothingStored(i)
		}
		switch n % 3 {
		case 1: // fails again
			i.kinds = []string{failed}
		case 2: // was fixed meanwhile
			i.script, i.kinds = &success, []string{"processed.cxai"}
		default:
			i.kinds = nil
		}
		s.declareAll([]interaction{i})
	}
}

// declareAgainWhileDue declares an interaction again when its due message is out, and no reservation of it is stored:
// that begins a second chain of polls, and the first has to end when what was out is delivered again.
func (s *scenario) declareAgainWhileDue() {
	s.t.Helper()
	// It still waits when AckWait (10 s) has passed.
	life := simulator.Processed(13 * time.Second)
	i := interaction{
		identifier: uuid.NewString(),
		typ:        schema.Transcript,
		script:     &life,
		kinds:      []string{"processed.cxai"},
	}
	out := make(chan struct{}, 1)
	proxy := harness.StartProxy(s.t, s.url, harness.Hooks{OnServer: func(m harness.Message) harness.Verdict {
		if m.Due() && m.Identifier() == i.identifier {
			select {
			case out <- struct{}{}:
				return harness.Drop
			default:
			}
		}
		return harness.Forward
	}})
	s.start("NATS_URL=" + s.inAccount(proxy.URL))
	s.declareAll([]interaction{i})
	select {
	case <-out:
	case <-s.ctx.Done():
		s.t.Fatal("no due message was delivered")
	}
	s.twice(i)
	s.awaitStored(schema.HoldSubject(i.typ, i.identifier))
}

// twice declares what was declared.
func (s *scenario) twice(i interaction) {
	s.t.Helper()
	harness.Check(s.t, s.declareAgain(i))
}

// declareAgain declares what was declared and has not ended. The broker refuses that while the first message is stored:
// with delayed naks until the end, otherwise until it is taken in.
func (s *scenario) declareAgain(i interaction) error {
	err := s.declare(s.ctx, i)
	for s.mode == consumer.Schedule && isStoredAlready(err) && s.ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond) // it is reserved, and its ack is on its way through the cluster
		err = s.declare(s.ctx, i)
	}
	switch {
	case s.mode == consumer.Nak && err == nil:
		return fmt.Errorf("declaring %s twice: the broker stored it, want a refusal", i.identifier)
	case s.mode == consumer.Nak && isStoredAlready(err):
		return nil
	}
	return err
}

// awaitStored waits until a message is stored on a subject.
func (s *scenario) awaitStored(subject string) {
	s.t.Helper()
	harness.Check(s.t, harness.Eventually(s.ctx, "a message on "+subject, func(ctx context.Context) error {
		left, err := harness.Left(ctx, s.js)
		if err == nil && !slices.Contains(left, subject) {
			err = errors.New("there is none")
		}
		return err
	}))
}

// awaitNothingStored waits until no message of an interaction is stored but its outcomes.
func (s *scenario) awaitNothingStored(i interaction) {
	s.t.Helper()
	subjects := []string{
		schema.DeclaredSubject(
			i.typ,
			i.identifier,
		),
		schema.HoldSubject(i.typ, i.identifier),
		schema.PollSubject(i.typ, i.identifier),
	}
	harness.Check(s.t, harness.Eventually(s.ctx, "the end of "+i.identifier, func(ctx context.Context) error {
		left, err := harness.Left(ctx, s.js)
		for _, subject := range subjects {
			if slices.Contains(left, subject) {
				err = errors.Join(err, fmt.Errorf("%s is stored", subject))
			}
		}
		return err
	}))
}
