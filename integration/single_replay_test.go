package integration

import (
	"context"
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

// replaySteps are the instants at which a replay is killed.
var replaySteps = []step{
	{name: "declared message unsent", client: publishesDeclared},
	{name: "declared message sent", client: publishesDeclared, passes: true},
	{name: "declared message stored", server: func(m harness.Message) bool { return m.Stored() && publishesDeclared(*m.Request) }},
	{name: "declared message acked", server: func(m harness.Message) bool { return m.Stored() && publishesDeclared(*m.Request) }, passes: true},
	{name: "delete unsent", client: deletesOutcome},
	{name: "delete sent", client: deletesOutcome, passes: true},
	{name: "deleted", server: func(m harness.Message) bool { return m.Request != nil && deletesOutcome(*m.Request) }},
	{name: "delete acked", server: func(m harness.Message) bool { return m.Request != nil && deletesOutcome(*m.Request) }, passes: true},
}

func publishesDeclared(m harness.Message) bool {
	return (m.Verb == "PUB" || m.Verb == "HPUB") && strings.HasPrefix(m.Subject, "interactions.declared.")
}

func deletesOutcome(m harness.Message) bool {
	return (m.Verb == "PUB" || m.Verb == "HPUB") && m.Subject == "$JS.API.STREAM.MSG.DELETE."+schema.StreamOutcomes
}

// published tells whether a replay that was killed at a step has stored the declared message. The one that was killed
// with its publish on the way may have.
func published(st step) bool { return !strings.HasPrefix(st.name, "declared message un") }

// What there may be of an interaction when a replay that was killed is run again.
const (
	declaredStill = "declared" // no worker runs
	polledStill   = "polled"   // a worker polls it
	endedAgain    = "ended"    // a worker has brought it to its end
)

// A replay that is killed, and run again, has declared each interaction once and leaves no dead letter; each ends once.
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
	s := newScenario(t, setting{name: fmt.Sprintf("replay-killed/%s/%s", mode, when), mode: mode, url: harness.StartServer(t).URL,
		env: []string{"STATUSWORKER_DEADLINE=5m"}})
	// An interaction for each step, which failed in an earlier life and ends otherwise in the next.
	ids := make([]string, len(replaySteps))
	for i := range replaySteps {
		ids[i] = uuid.NewString()
		s.deadLettered(ids[i], map[string]time.Duration{declaredStill: 0, polledStill: 6 * time.Second, endedAgain: 0}[when])
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
		want = 1 // a killed replay has deleted a dead letter, which the second one names as missing
	}
	code, output := harness.RunWorker(t, []string{"NATS_URL=" + s.url}, append([]string{"dlq", "replay", "--yes"}, ids...)...)
	if code != want {
		t.Errorf("the second replay ended with %d, want %d:\n%s", code, want, output)
	}
	note(t, "scenario=%s second_replay=%q", s.name, lastLine(output))
	if n := s.deadLetters(); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	if when == declaredStill {
		s.start()
	}
	s.finish()
	declared, err := s.js.Stream(s.ctx, schema.StreamDeclared)
	harness.Check(t, err)
	// Nothing else was published to this stream: its last sequence is how many were ever stored.
	if n := declared.CachedInfo().State.LastSeq; n != uint64(len(ids)) {
		t.Errorf("%d declared messages were stored, want %d, one for each", n, len(ids))
	}
	if n := s.deadLetters(); n != 0 {
		t.Errorf("%d dead letters are left in the end", n)
	}
}

// deadLettered stores the dead letter of an interaction that failed an hour ago, and expects another end of its next
// life.
func (s *scenario) deadLettered(id string, after time.Duration) {
	s.t.Helper()
	stored := time.Now().Add(-time.Hour).UTC()
	o := schema.Outcome{
		Identifier: id, Type: schema.Chat, Reason: schema.Rejected, Detail: "the vendor answered 400", Observed: stored.Add(time.Minute),
		Declaration: json.RawMessage(fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id)),
		Origin:      schema.Origin{Stream: schema.StreamDeclared, Subject: schema.DeclaredSubject(schema.Chat, id), Sequence: 1, Deliveries: 1, Stored: stored, Polls: 1},
	}
	data, err := o.Marshal()
	harness.Check(s.t, err)
	_, err = s.js.Publish(s.ctx, o.Subject(), data)
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
		s.t.Errorf("the replay was not killed at the step %q: exit code %d, %v", st.name, code, err)
	}
	if st.name == "declared message sent" {
		// The broker has it, or will have it in a moment: the test is about the case in which it does.
		harness.Check(s.t, harness.Eventually(s.ctx, "the declared message to be stored", func(ctx context.Context) error {
			stream, err := s.js.Stream(ctx, schema.StreamDeclared)
			if err != nil {
				return err
			}
			_, err = stream.GetLastMsgForSubject(ctx, schema.DeclaredSubject(schema.Chat, id))
			return err
		}))
	}
}

// deadLetters is how many there are.
func (s *scenario) deadLetters() (n int) {
	s.t.Helper()
	stream, err := s.js.Stream(s.ctx, schema.StreamOutcomes)
	harness.Check(s.t, err)
	info, err := stream.Info(s.ctx, jetstream.WithSubjectFilter(schema.SubjectsFailed))
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
