package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// step is an instant of a delivery at which a worker is killed. One of its conditions is set.
type step struct {
	name string
	// client is met by a message that the worker sends, server by one that it is sent. The message does not pass,
	// unless passes says so.
	client, server func(harness.Message) bool
	passes         bool
	// poll is met by the poll itself: the vendor has read the request and not yet answered.
	poll bool
}

var stepsOfReservations = []step{
	{name: "declared message received", server: declared},
	{name: "first reservation unsent", client: func(m harness.Message) bool { return m.PublishesReservation() && number(&m) == "1" }},
	{name: "first reservation stored", server: func(m harness.Message) bool { return m.ReservationStored() && number(m.Request) == "1" }},
	{name: "due message received", server: harness.Message.Due},
	{name: "reservation unsent", client: func(m harness.Message) bool { return m.PublishesReservation() && number(&m) != "1" }},
	{name: "reservation stored", server: func(m harness.Message) bool { return m.ReservationStored() && number(m.Request) != "1" }},
	{name: "due message unacked", client: func(m harness.Message) bool { return answers(m, schema.StreamPolls, "+ACK") }},
	{name: "due message acked", client: func(m harness.Message) bool { return answers(m, schema.StreamPolls, "+ACK") }, passes: true},
	{name: "polled", poll: true},
	{name: "outcome unsent", client: harness.Message.PublishesOutcome},
	{name: "first outcome stored", server: firstOfTwo},
	{name: "tombstone unsent", client: harness.Message.PublishesTombstone},
	{name: "tombstone stored", server: harness.Message.TombstoneStored},
}

var stepsOfNaks = []step{
	{name: "declared message received", server: declared},
	{name: "in-progress unsent", client: func(m harness.Message) bool { return answers(m, schema.StreamDeclared, "+WPI") }},
	{name: "polled", poll: true},
	{name: "nak unsent", client: func(m harness.Message) bool { return answers(m, schema.StreamDeclared, "-NAK") }},
	{name: "nak sent", client: func(m harness.Message) bool { return answers(m, schema.StreamDeclared, "-NAK") }, passes: true},
	{name: "outcome unsent", client: harness.Message.PublishesOutcome},
	{name: "first outcome stored", server: firstOfTwo},
	{name: "ack unsent", client: func(m harness.Message) bool { return answers(m, schema.StreamDeclared, "+ACK") }},
	{name: "ack sent", client: func(m harness.Message) bool { return answers(m, schema.StreamDeclared, "+ACK") }, passes: true},
}

// declared tells whether m delivers a declared message.
func declared(m harness.Message) bool {
	return (m.Verb == "MSG" || m.Verb == "HMSG") && strings.HasPrefix(m.Subject, "interactions.declared.") && strings.HasPrefix(m.Reply, "$JS.ACK.")
}

// answers tells whether m settles, or prolongs, a message of a stream.
func answers(m harness.Message, stream, how string) bool {
	return (m.Verb == "PUB" || m.Verb == "HPUB") && strings.HasPrefix(m.Subject, "$JS.ACK.") &&
		strings.Contains(m.Subject, "."+stream+".") && strings.HasPrefix(string(m.Payload), how)
}

// firstOfTwo tells whether m says that the first of two processed events of an audio is stored.
func firstOfTwo(m harness.Message) bool {
	return m.OutcomeStored() && strings.HasPrefix(m.Request.Subject, "interactions.processed.transcript.")
}

func number(reservation *harness.Message) string {
	if n := reservation.Header[schema.HeaderPoll]; len(n) == 1 {
		return n[0]
	}
	return ""
}

// The broker of these scenarios gives each step an account of its own, so that all of them can wait at the same time
// for what a killed worker had received to come back.
func TestSingleWorkerKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for mode, steps := range map[consumer.Mode][]step{consumer.Schedule: stepsOfReservations, consumer.Nak: stepsOfNaks} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			broker := harness.StartServer(t, accounts(len(steps)))
			scenarios := make([]*scenario, len(steps))
			victims := make([]*harness.Process, len(steps))
			for i, st := range steps {
				scenarios[i], victims[i] = doomedAt(t, broker.URL, account(i), mode, st)
			}
			for i, s := range scenarios {
				if _, err := victims[i].Wait(s.ctx); err != nil {
					t.Fatalf("no worker came to the step %q: %v", steps[i].name, err)
				}
				s.launch()
			}
			for i, st := range steps {
				t.Run(strings.ReplaceAll(st.name, " ", "-"), func(t *testing.T) {
					s := scenarios[i]
					s.t, s.ctx = t, harness.Context(t, time.Minute) // one that fails must not take the time of the others
					s.finish()
				})
			}
		})
	}
}

// doomedAt starts a worker that is killed when it comes to a step, and gives it something to do.
func doomedAt(t *testing.T, url, account string, mode consumer.Mode, st step) (*scenario, *harness.Process) {
	t.Helper()
	s := newScenario(t, setting{
		name: fmt.Sprintf("worker-killed/%s/%s", mode, strings.ReplaceAll(st.name, " ", "-")), mode: mode,
		url: url, account: account,
		// Nothing here ends by its age.
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
	// Some end soon; some still wait when what the killed worker had received is delivered again (AckWait is some 10
	// s).
	s.declareAll(processed(0))
	s.declareAll(processed(1500 * time.Millisecond))
	s.declareAll(processed(13 * time.Second))
	return s, victim
}
