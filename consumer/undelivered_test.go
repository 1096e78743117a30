package consumer_test

import (
	"maps"
	"testing"
	"time"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// A killed server can keep messages that its consumers count as acknowledged, and then does not deliver them. Workers
// remove them, without a second outcome and without an early poll, and the interactions can be declared again.
func TestAcknowledgedMessagesThatAreKept(t *testing.T) {
	for name, subjects := range map[string]string{
		"declared messages": ns.SubjectsDeclared(), "due messages": ns.SubjectsPoll(), "both": "",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := inMemory(t, consumer.Schedule, func(c *consumer.Config) { c.Intervals = consumer.Guidance })
				s.Fake.Inject(fake.Fault{Op: fake.Ack, Object: subjects, Times: 10_000, Lost: fake.Removal})
				workers := []*stage.Worker{s.Start(), s.Start()}
				s.endsWhileMessagesAreKept()
				if workers[0].Stats().Claimed+workers[1].Stats().Claimed == 0 {
					t.Error("the workers claimed no message")
				}
			})
		})
	}
}

// endsWhileMessagesAreKept declares interactions, lets the broker remove acknowledged messages again when all have
// ended, and then declares those again that have failed.
func (s *testStage) endsWhileMessagesAreKept() {
	s.T.Helper()
	const n = 30
	failed, want := map[string]bool{}, map[string]int{}
	for i := range n {
		typ := schema.Types()[i%3]
		if i%2 == 0 {
			id := s.Declare(typ, simulator.Failed(schema.StatusProcessingFailed, 40*time.Second))
			failed[id] = true
			want[ns.FailedSubject(schema.ProcessingFailed, id)]++
			continue
		}
		id := s.Declare(typ, simulator.Processed(40*time.Second))
		want[ns.ProcessedSubject(schema.ToCXAI, id)]++
		if typ == schema.Audio {
			want[ns.ProcessedSubject(schema.ToTranscript, id)]++
		}
	}
	s.WaitOutcomes(len(want))
	if s.Fake.Uninject() == 10_000 {
		s.T.Fatal("every acknowledged message was removed")
	}
	s.WaitDrained()
	for id := range failed {
		s.Vendor.Declare(id, simulator.Failed(schema.StatusProcessingFailed, 0))
		s.DeclareAs(schema.Chat, id)
		want[ns.FailedSubject(schema.ProcessingFailed, id)]++
	}
	s.WaitOutcomes(len(want) + len(failed))
	s.WaitDrained()
	got := map[string]int{}
	for _, o := range s.Outcomes() {
		got[o.Subject]++
	}
	if !maps.Equal(got, want) {
		s.T.Errorf("outcomes %v, want %v", got, want)
	}
	s.CheckIntervals()
}
