package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// step is a step of a delivery at which a worker is killed. One of its conditions is set.
type step struct {
	name string
	// client is a condition on a message of the worker, server on a message to it. That message is discarded unless
	// passes is set.
	client, server func(harness.Message) bool
	passes         bool
	// poll is set for the moment when the vendor has received the request, but has not answered.
	poll bool
}

// killSteps are the steps of each redelivery mode.
var killSteps = map[consumer.Mode][]step{consumer.Schedule: {
	{name: "declared message received", server: declared},
	{name: "first reservation unsent", client: firstReservation},
	{name: "first reservation stored", server: firstReservationStored},
	{name: "due message received", server: harness.Message.Due},
	{name: "reservation unsent", client: laterReservation},
	{name: "reservation stored", server: laterReservationStored},
	{name: "due message unacked", client: answers(ns.StreamPolls(), "+ACK")},
	{name: "due message acked", client: answers(ns.StreamPolls(), "+ACK"), passes: true},
	{name: "polled", poll: true},
	{name: "outcome unsent", client: harness.Message.PublishesOutcome},
	{name: "second outcome unsent", client: secondOfTwo},
	{name: "first or both outcomes stored", server: firstOrBothStored},
	{name: "tombstone unsent", client: harness.Message.PublishesTombstone},
	{name: "tombstone stored", server: harness.Message.TombstoneStored},
}, consumer.Nak: {
	{name: "declared message received", server: declared},
	{name: "in-progress unsent", client: answers(ns.StreamDeclared(), "+WPI")},
	{name: "polled", poll: true},
	{name: "nak unsent", client: answers(ns.StreamDeclared(), "-NAK")},
	{name: "nak sent", client: answers(ns.StreamDeclared(), "-NAK"), passes: true},
	{name: "outcome unsent", client: harness.Message.PublishesOutcome},
	{name: "second outcome unsent", client: secondOfTwo},
	{name: "first or both outcomes stored", server: firstOrBothStored},
	{name: "ack unsent", client: answers(ns.StreamDeclared(), "+ACK")},
	{name: "ack sent", client: answers(ns.StreamDeclared(), "+ACK"), passes: true},
}}

// declared reports whether m delivers a declared message.
func declared(m harness.Message) bool {
	return (m.Verb == "MSG" || m.Verb == "HMSG") && strings.HasPrefix(m.Subject, "interactions.declared.") &&
		strings.HasPrefix(m.Reply, "$JS.ACK.")
}

// answers returns a condition on the answer of a worker to a delivery of a stream: an ack, a nak or in-progress.
func answers(stream, answer string) func(harness.Message) bool {
	return func(m harness.Message) bool {
		return (m.Verb == "PUB" || m.Verb == "HPUB") && strings.HasPrefix(m.Subject, "$JS.ACK.") &&
			strings.Contains(m.Subject, "."+stream+".") && strings.HasPrefix(string(m.Payload), answer)
	}
}

func firstReservation(m harness.Message) bool { return m.PublishesReservation() && number(&m) == "1" }
func laterReservation(m harness.Message) bool { return m.PublishesReservation() && number(&m) != "1" }

func firstReservationStored(m harness.Message) bool {
	return m.ReservationStored() && number(m.Request) == "1"
}

func laterReservationStored(m harness.Message) bool {
	return m.ReservationStored() && number(m.Request) != "1"
}

// commits reports whether m commits an atomic batch.
func commits(m harness.Message) bool { return len(m.Header["Nats-Batch-Commit"]) == 1 }

// secondOfTwo reports whether m publishes the second of two processed events of an audio: the end of a batch, or,
// without batches, a publish that expects the first one.
func secondOfTwo(m harness.Message) bool {
	expected := m.Header[broker.HeaderExpected]
	return m.PublishesOutcome() && strings.HasPrefix(m.Subject, "interactions.processed.cxai.") &&
		(commits(m) || len(expected) == 1 && expected[0] != "0")
}

// firstOrBothStored reports whether m is the publish ack of the first of two processed events of an audio, or that of
// their batch.
func firstOrBothStored(m harness.Message) bool {
	return m.OutcomeStored() &&
		(commits(*m.Request) || strings.HasPrefix(m.Request.Subject, "interactions.processed.transcript."))
}

// number returns the number of the poll that a reservation is for.
func number(reservation *harness.Message) string {
	if n := reservation.Header[schema.HeaderPoll]; len(n) == 1 {
		return n[0]
	}
	return ""
}

// Each step has its own account on one broker, so that all of them wait at the same time until the messages of the
// killed worker are redelivered.
func TestSingleWorkerKilledAtEachStep(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		steps := killSteps[mode]
		broker := harness.StartServer(t, accounts(len(steps)))
		scenarios := make([]*scenario, len(steps))
		victims := make([]*harness.Process, len(steps))
		for i, st := range steps {
			scenarios[i], victims[i] = doomedAt(t, broker.URL, account(i), mode, st)
		}
		for i, s := range scenarios {
			if _, err := victims[i].Wait(s.ctx); err != nil {
				t.Fatalf("the worker did not reach the step %q: %v", steps[i].name, err)
			}
			s.launch()
		}
		for i, st := range steps {
			t.Run(strings.ReplaceAll(st.name, " ", "-"), func(t *testing.T) {
				s := scenarios[i]
				// A step that fails must not use up the time of the others.
				s.t, s.ctx = t, harness.Context(t, hangs)
				s.finish()
			})
		}
	})
}

// doomedAt starts a worker that is killed when it comes to a step, and declares interactions.
func doomedAt(t *testing.T, url, account string, mode consumer.Mode, st step) (*scenario, *harness.Process) {
	t.Helper()
	s := newScenario(t, setting{
		name: fmt.Sprintf("worker-killed/%s/%s", mode, strings.ReplaceAll(st.name, " ", "-")), mode: mode,
		url: url, account: account,
		// No deadline is missed.
		env: []string{"STATUSWORKER_DEADLINE=5m"},
	})
	var victim *harness.Process
	hook := func(met func(harness.Message) bool) func(harness.Message) harness.Verdict {
		if met == nil {
			return nil
		}
		return func(m harness.Message) harness.Verdict {
			if !met(m) {
				return harness.Forward
			}
			victim.Kill()
			if st.passes {
				return harness.Forward
			}
			return harness.Close
		}
	}
	proxy := harness.StartProxy(t, url, harness.Hooks{})
	victim = s.launch("NATS_URL=" + s.inAccount(proxy.URL))
	proxy.SetHooks(harness.Hooks{OnClient: hook(st.client), OnServer: hook(st.server)})
	if st.poll {
		s.vendor.OnPoll(func(simulator.Poll) {
			victim.Kill()
			s.vendor.OnPoll(nil)
		})
	}
	// Some end soon. Some have not ended when the messages of the killed worker are redelivered (AckWait is about 10
	// s).
	s.declareAll(processed(0))
	s.declareAll(processed(1500 * time.Millisecond))
	s.declareAll(processed(13 * time.Second))
	return s, victim
}
