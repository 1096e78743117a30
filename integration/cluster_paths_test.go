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

// takesAllPaths declares interactions of every type and route and with every reason to fail, and declares some of them
// more than once.
func (s *scenario) takesAllPaths(*harness.Cluster) {
	s.t.Helper()
	for _, after := range []time.Duration{0, 1500 * time.Millisecond, 4 * time.Second} {
		s.declareAll(processed(after))
	}
	for _, typ := range schema.Types() {
		s.declareAll(failing(typ, 1500*time.Millisecond))
	}
	s.declareTwiceAtEachStage()
	s.finish()
}

// declareTwiceAtEachStage declares an interaction for each stage, and declares it again at that stage. It starts the
// workers.
func (s *scenario) declareTwiceAtEachStage() {
	s.t.Helper()
	one := func(script simulator.Script, kinds ...string) interaction {
		i := chat(&script, kinds...)
		s.declareAll([]interaction{i})
		return i
	}
	// These end when they have been declared again, however long the broker takes.
	never, success := simulator.Never(), simulator.Processed(0)
	ends := func(i interaction) { s.vendor.Declare(i.identifier, success) }

	untaken := one(never, "processed.cxai")
	if err := s.declare(s.ctx, untaken); !isStoredAlready(err) {
		s.t.Errorf("second message before the first is taken in: error %v, want a rejection by the broker", err)
	}
	ends(untaken)
	if s.mode == consumer.Schedule {
		s.declareAgainWhileDue()
	}
	s.startThree()

	reserved := one(never, "processed.cxai")
	if s.mode == consumer.Schedule {
		s.awaitStored(ns.HoldSubject(reserved.typ, reserved.identifier))
	}
	s.twice(reserved)
	ends(reserved)

	polled := chat(&never, "processed.cxai")
	again := make(chan error, 1)
	s.vendor.OnPoll(func(p simulator.Poll) {
		// The vendor has not answered yet.
		if p.Identifier == polled.identifier && p.Number == 2 {
			again <- s.declareAgain(polled)
		}
	})
	// Not before: while a leader is elected, the second poll can come before the broker acknowledges the message.
	s.declareAll([]interaction{polled})
	select {
	case err := <-again:
		harness.Check(s.t, err)
	case <-s.ctx.Done():
		s.t.Fatal("there was no second poll")
	}
	s.vendor.OnPoll(nil)
	ends(polled)

	pending := one(never, "processed.cxai")
	harness.Check(s.t, s.vendor.WaitPollsOf(s.ctx, pending.identifier, 1))
	s.twice(pending)
	ends(pending)

	// Ended, first while there is a tombstone (or will be), then after its expiry. A processed interaction gets no
	// further outcome; a failed one gets another.
	failure := simulator.Failed(schema.StatusProcessingFailed, 0)
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
		case 2: // succeeds
			i.script, i.kinds = &success, []string{"processed.cxai"}
		default:
			i.kinds = nil
		}
		s.declareAll([]interaction{i})
	}
}

// declareAgainWhileDue declares an interaction again while its due message is in flight, so that no reservation is
// stored. The declaration starts a second chain of polls. The first chain must end when the due message is redelivered.
func (s *scenario) declareAgainWhileDue() {
	s.t.Helper()
	// It has not ended when AckWait (10 s) has passed.
	script := simulator.Processed(13 * time.Second)
	i := interaction{
		identifier: uuid.NewString(),
		typ:        schema.Transcript,
		script:     &script,
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
	s.awaitStored(ns.HoldSubject(i.typ, i.identifier))
}

// twice declares an interaction again.
func (s *scenario) twice(i interaction) {
	s.t.Helper()
	harness.Check(s.t, s.declareAgain(i))
}

// declareAgain declares an interaction again that has not ended. The broker rejects the message while the first one is
// stored: with delayed naks until the outcome, otherwise until it is taken in.
func (s *scenario) declareAgain(i interaction) error {
	if s.mode == consumer.Nak {
		stored := false
		err := harness.Eventually(s.ctx, "a rejection of "+i.identifier, func(ctx context.Context) error {
			err := s.declare(ctx, i)
			stored = err == nil
			if isStoredAlready(err) {
				return nil
			}
			return err
		})
		if stored {
			return fmt.Errorf("the broker stored a second message of %s", i.identifier)
		}
		return err
	}
	// The ack of the first message may not have reached the cluster yet.
	return harness.Eventually(s.ctx, "the second message of "+i.identifier, func(ctx context.Context) error {
		return s.declare(ctx, i)
	})
}

// awaitStored waits until a message is stored on a subject.
func (s *scenario) awaitStored(subject string) {
	s.t.Helper()
	harness.Check(s.t, harness.Eventually(s.ctx, "a message on "+subject, func(ctx context.Context) error {
		left, err := harness.Left(ctx, s.js)
		if err == nil && !slices.Contains(left, subject) {
			err = errors.New("no message is stored")
		}
		return err
	}))
}

// awaitNothingStored waits until only the outcomes of an interaction are stored.
func (s *scenario) awaitNothingStored(i interaction) {
	s.t.Helper()
	subjects := []string{
		ns.DeclaredSubject(i.typ, i.identifier),
		ns.HoldSubject(i.typ, i.identifier),
		ns.PollSubject(i.typ, i.identifier),
	}
	what := "the removal of all messages of " + i.identifier
	harness.Check(s.t, harness.Eventually(s.ctx, what, func(ctx context.Context) error {
		left, err := harness.Left(ctx, s.js)
		for _, subject := range subjects {
			if slices.Contains(left, subject) {
				err = errors.Join(err, fmt.Errorf("%s is stored", subject))
			}
		}
		return err
	}))
}
