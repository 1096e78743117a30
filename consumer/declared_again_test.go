package consumer_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// What counts is when a declared message was stored, not when it is taken in: stored before the outcome, it changes
// nothing.
func TestDeclaredAgainBeforeTheOutcomeAndTakenInAfterIt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		mode    consumer.Mode
		as      schema.Type
		script  simulator.Script
		outcome string
	}{
		"schedule, failed":                    {consumer.Schedule, schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0), schema.FailedSubject(schema.ProcessingFailed, "")},
		"schedule, failed, as another type":   {consumer.Schedule, schema.Audio, simulator.Failed(schema.StatusFileUploadFailed, 0), schema.FailedSubject(schema.FileUploadFailed, "")},
		"schedule, processed, as an audio":    {consumer.Schedule, schema.Audio, simulator.Processed(0), schema.ProcessedSubject(schema.ToCXAI, "")},
		"nak, failed, as another type":        {consumer.Nak, schema.Audio, simulator.Failed(schema.StatusProcessingFailed, 0), schema.FailedSubject(schema.ProcessingFailed, "")},
		"nak, processed, as a transcript too": {consumer.Nak, schema.Transcript, simulator.Processed(0), schema.ProcessedSubject(schema.ToCXAI, "")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, tt.mode, nil)
			w := s.Start()
			id := s.Declare(schema.Chat, tt.script.With(stage.PendingOnce))
			s.WaitPolls(1)
			declared, err := s.JS.Stream(s.Ctx, schema.StreamDeclared)
			if err != nil {
				t.Fatal(err)
			}
			paused := schema.ConsumerIntake
			if tt.mode == consumer.Nak {
				paused = schema.PollConsumer(tt.as)
			}
			// No outcome is stored before the second message is, and nothing takes that in before the outcome.
			pause := func(stream, name string) (resume func()) {
				t.Helper()
				if _, err := s.JS.PauseConsumer(s.Ctx, stream, name, time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				return func() {
					t.Helper()
					if _, err := s.JS.ResumeConsumer(s.Ctx, stream, name); err != nil {
						t.Fatal(err)
					}
				}
			}
			goOn := pause(tt.mode.PollStream(), schema.PollConsumer(schema.Chat))
			resume := pause(schema.StreamDeclared, paused)
			if n := s.Vendor.Count(); n != 1 {
				t.Fatalf("%d polls before the lane was paused, want 1", n)
			}
			s.Publish(schema.DeclaredSubject(tt.as, id), fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q}`, id, tt.as))
			goOn()
			s.WaitOutcomes(1)
			s.Until("nothing else of it to be stored", func() bool {
				if polls, err := s.JS.Stream(s.Ctx, schema.StreamPolls); err == nil && polls.CachedInfo().State.Msgs > 0 {
					return false // the tombstone
				}
				info, err := declared.Info(s.Ctx)
				return err == nil && info.State.Msgs == 1
			})
			polls := s.Vendor.CountOf(id)
			resume()
			s.WaitDrained()
			if got := s.CountOutcomes(1); len(got) != 1 || got[tt.outcome+id] != 1 {
				t.Errorf("outcomes %v, want one on %s", got, tt.outcome+id)
			}
			if n := s.Vendor.CountOf(id) - polls; n != 0 {
				t.Errorf("it was polled %d times more, want none", n)
			}
			if stats := w.Stats(); stats.DeclaredTwice+stats.DeclaredProcessed != 1 || stats.DeclaredAgain != 0 {
				t.Errorf("counted %+v, want it to have been declared twice", stats)
			}
			s.CheckIntervals()
		})
	}
}

// One identifier is one interaction: of two declared messages under two types that wait, the first stored begins the
// generation.
func TestFirstDeclaredWins(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		const n = 8
		ids := map[string]schema.Type{}
		var mu sync.Mutex
		s.onStored(schema.FailedSubject(schema.ProcessingFailed, "*"), func(id string) {
			mu.Lock()
			first, second := schema.Transcript, schema.Audio
			if ids[id] == schema.Audio {
				first, second = second, first
			}
			mu.Unlock()
			s.Vendor.Declare(id, simulator.Processed(0))
			for _, typ := range []schema.Type{first, second} {
				s.Publish(schema.DeclaredSubject(typ, id), fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q}`, id, typ))
			}
		})
		mu.Lock()
		for i := range n {
			id := uuid.NewString()
			ids[id] = []schema.Type{schema.Audio, schema.Transcript}[i%2]
		}
		mu.Unlock()
		for id := range ids {
			s.Vendor.Declare(id, simulator.Failed(schema.StatusProcessingFailed, 0))
			s.DeclareAs(schema.Chat, id)
		}
		s.Start()
		s.Start()
		want := map[string]int{}
		for id, typ := range ids {
			want[schema.FailedSubject(schema.ProcessingFailed, id)] = 1
			want[schema.ProcessedSubject(schema.ToCXAI, id)] = 1
			if typ == schema.Audio {
				want[schema.ProcessedSubject(schema.ToTranscript, id)] = 1
			}
		}
		got := s.CountOutcomes(len(want))
		s.WaitDrained()
		for subject, n := range s.CountOutcomes(len(got)) {
			if want[subject] != n {
				t.Errorf("%d outcomes on %s, want %d", n, subject, want[subject])
			}
			delete(want, subject)
		}
		for subject := range want {
			t.Errorf("no outcome on %s", subject)
		}
	})
}
