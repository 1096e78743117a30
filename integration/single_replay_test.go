package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// replaySteps are the steps at which a replay is killed.
var replaySteps = []step{
	{name: "declared message unsent", client: publishesDeclared},
	{name: "declared message sent", client: publishesDeclared, passes: true},
	{name: "declared message stored", server: declaredStored},
	{name: "declared message acked", server: declaredStored, passes: true},
	{name: "delete unsent", client: deletesOutcome},
	{name: "delete sent", client: deletesOutcome, passes: true},
	{name: "deleted", server: outcomeDeleted},
	{name: "delete acked", server: outcomeDeleted, passes: true},
}

func publishesDeclared(m harness.Message) bool {
	return (m.Verb == "PUB" || m.Verb == "HPUB") && strings.HasPrefix(m.Subject, "interactions.declared.")
}

func declaredStored(m harness.Message) bool { return m.Stored() && publishesDeclared(*m.Request) }

func deletesOutcome(m harness.Message) bool {
	return (m.Verb == "PUB" || m.Verb == "HPUB") && m.Subject == "$JS.API.STREAM.MSG.DELETE."+ns.StreamOutcomes()
}

func outcomeDeleted(m harness.Message) bool { return m.Request != nil && deletesOutcome(*m.Request) }

// published reports whether a replay that is killed at a step has stored the declared message.
func published(st step) bool { return !strings.HasPrefix(st.name, "declared message un") }

// States of an interaction when a replay that was killed is run again.
const (
	declaredStill = "declared" // no worker runs
	polledStill   = "polled"   // a worker polls it
	endedAgain    = "ended"    // its outcome is stored
)

// A replay that is killed and run again declares each interaction once and leaves no dead letter. Each interaction gets
// one outcome.
func TestSingleReplayKilledAtEachStep(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode consumer.Mode) {
		for _, when := range []string{declaredStill, polledStill, endedAgain} {
			t.Run(when, func(t *testing.T) {
				t.Parallel()
				replayKilled(t, mode, when)
			})
		}
	})
}

func replayKilled(t *testing.T, mode consumer.Mode, when string) {
	s := newScenario(t, setting{
		name: fmt.Sprintf("replay-killed/%s/%s", mode, when), mode: mode, url: harness.StartServer(t).URL,
		env: []string{longAge},
	})
	// An interaction for each step. It failed in its previous generation and is processed in the next.
	var after time.Duration
	if when == polledStill {
		after = 6 * time.Second
	}
	ids := make([]string, len(replaySteps))
	for i := range replaySteps {
		ids[i] = uuid.NewString()
		s.deadLettered(ids[i], after)
	}
	for i, st := range replaySteps {
		s.killReplay(ids[i], st)
	}
	if when != declaredStill {
		s.start()
		for i, st := range replaySteps {
			switch {
			case !published(st):
			case when == polledStill:
				harness.Check(t, s.vendor.WaitPollsOf(s.ctx, ids[i], 1))
			default:
				want := harness.Expected{}
				want.Add(ids[i], "failed.rejected", "processed.cxai")
				harness.Check(t, s.oracle.Await(s.ctx, want))
			}
		}
	}
	want := 0
	if s.deadLetters() < len(ids) {
		want = 1 // a killed replay has deleted a dead letter, which the second one reports as missing
	}
	replay := append([]string{"dlq", "replay", "--yes"}, ids...)
	code, output := harness.RunWorker(t, []string{"NATS_URL=" + s.url}, replay...)
	if code != want {
		t.Errorf("second replay: exit code %d, want %d; output:\n%s", code, want, output)
	}
	note(t, "scenario=%s second_replay=%q", s.name, lastLine(output))
	if n := s.deadLetters(); n != 0 {
		t.Errorf("%d dead letters are left after the replay, want none", n)
	}
	if when == declaredStill {
		s.start()
	}
	s.finish()
	declared, err := s.js.Stream(s.ctx, ns.StreamDeclared())
	harness.Check(t, err)
	// The last sequence of the stream is the number of messages ever stored.
	if n := declared.CachedInfo().State.LastSeq; n != uint64(len(ids)) {
		t.Errorf("%d declared messages were stored, want %d", n, len(ids))
	}
	if n := s.deadLetters(); n != 0 {
		t.Errorf("%d dead letters are left in the end, want none", n)
	}
}

// deadLettered stores the dead letter of an interaction that failed an hour ago. Its next generation is expected to be
// processed.
func (s *scenario) deadLettered(id string, after time.Duration) {
	s.t.Helper()
	stored := time.Now().Add(-time.Hour).UTC()
	o := schema.Outcome{
		Identifier: id, Type: schema.Chat, Reason: schema.Rejected, Detail: "ElevateAI answered 400",
		Observed:    stored.Add(time.Minute),
		Declaration: json.RawMessage(fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id)),
		Origin: schema.Origin{
			Stream: ns.StreamDeclared(), Subject: ns.DeclaredSubject(schema.Chat, id), Sequence: 1,
			Deliveries: 1, Stored: stored, Polls: 1,
		},
	}
	data, err := o.Marshal()
	harness.Check(s.t, err)
	_, err = s.js.Publish(s.ctx, ns.OutcomeSubject(o), data)
	harness.Check(s.t, err)
	s.vendor.Declare(id, simulator.Processed(after))
	s.types[id] = schema.Chat
	s.want.Add(id, "failed.rejected", "processed.cxai")
}

// killReplay replays a dead letter and kills the replay at a step.
func (s *scenario) killReplay(id string, st step) {
	s.t.Helper()
	var victim *harness.Process
	started := make(chan struct{})
	hook := func(met func(harness.Message) bool) func(harness.Message) harness.Verdict {
		if met == nil {
			return nil
		}
		return func(m harness.Message) harness.Verdict {
			if !met(m) {
				return harness.Forward
			}
			<-started
			victim.Kill()
			if st.passes {
				return harness.Forward
			}
			return harness.Close
		}
	}
	proxy := harness.StartProxy(s.t, s.url, harness.Hooks{OnClient: hook(st.client), OnServer: hook(st.server)})
	victim = harness.StartWorker(s.t, "replay", []string{"NATS_URL=" + proxy.URL}, "dlq", "replay", "--yes", id)
	close(started)
	code, err := victim.Wait(s.ctx)
	if err != nil || code == 0 && st.name != "delete acked" {
		s.t.Errorf("the replay was not killed at the step %q: exit code %d (%v)", st.name, code, err)
	}
	if st.name == "declared message sent" {
		// The broker stores it soon, which this step is about.
		s.awaitStored(ns.DeclaredSubject(schema.Chat, id))
	}
}

// deadLetters returns the number of dead letters.
func (s *scenario) deadLetters() (n int) {
	s.t.Helper()
	stream, err := s.js.Stream(s.ctx, ns.StreamOutcomes())
	harness.Check(s.t, err)
	info, err := stream.Info(s.ctx, jetstream.WithSubjectFilter(ns.SubjectsFailed()))
	harness.Check(s.t, err)
	for _, m := range info.State.Subjects {
		n += int(m)
	}
	return n
}

func lastLine(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return lines[len(lines)-1]
}
