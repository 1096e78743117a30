package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/cmd/broker/fake"
	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient/simulator"
)

// An interaction that is declared again at every stage of its generation has one outcome.
func TestDeclaredTwiceAtEveryStage(t *testing.T) {
	t.Parallel()
	s := onServer(t, consumer.Schedule, nil)
	var want []string
	for range 12 {
		id := s.Declare(schema.Chat, simulator.Processed(2*time.Second).With(stage.PendingOnce))
		want = append(want, ns.ProcessedSubject(schema.ToCXAI, id))
		// Before the first message is taken in, the broker rejects the second.
		_, err := s.TryPublish(broker.Publication{Subject: ns.DeclaredSubject(schema.Chat, id), Data: []byte(`{}`)})
		if err == nil {
			t.Error("a second message on the subject was accepted")
		}
	}
	w := s.Start()
	// At every poll, under the same type and another.
	s.Vendor.OnPoll(func(p simulator.Poll) {
		for _, typ := range []schema.Type{schema.Chat, schema.Audio} {
			data := stage.Declaration(typ, p.Identifier, `"includeAiResults":true`)
			_, _ = s.JS.Publish(context.Background(), ns.DeclaredSubject(typ, p.Identifier), data)
		}
	})
	s.WantOutcomes(want...)
	s.Vendor.OnPoll(nil)
	s.WaitDrained()
	s.CheckIntervals()
	s.WantOutcomes(want...)
	if w.Stats().DeclaredTwice == 0 {
		t.Error("nothing was counted as declared twice")
	}
}

// While a poll of an interaction is due and no worker makes it, a second declared message changes nothing: the outcomes
// are those that the first one asks for. The same applies while only half of a success is stored.
func TestDeclaredTwiceWhileAPollIsDue(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]bool{"never polled": false, "half a success": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := onServer(t, consumer.Schedule, func(c *consumer.Config) { c.NotFoundGrace = time.Millisecond })
			id := s.Declare(schema.Audio, simulator.Processed(0))
			w := s.Start(stage.Ports{Outcomes: &halfway{OutcomePublisher: s.Publisher(), vendor: s.Vendor}})
			s.Until("the first worker to have done its part", func() bool {
				return !half && w.Stats().TakenIn == 1 || w.Stats().DeliveryErrors == 1
			})
			w.End()
			resume := s.pause(ns.StreamPolls(), ns.PollConsumer(schema.Audio))
			s.Until("a poll to be due", func() bool {
				_, err := s.Broker.Last(s.Ctx, ns.StreamPolls(), ns.PollSubjects(id))
				return err == nil
			})
			s.DeclareAs(schema.Audio, id, `"includeAiResults":false`)
			second := s.Start()
			s.Until("the second message to be rejected", func() bool {
				stats := second.Stats()
				return stats.RejectedReservations+stats.TakenIn+stats.DeclaredProcessed > 0
			})
			if stats := second.Stats(); stats.TakenIn > 0 {
				t.Errorf("a second generation began before the first had ended: %+v", stats)
			}
			resume()
			s.WaitDrained()
			s.wantProcessed(id)
		})
	}
}

// The time that counts is when a declared message was stored, and not when it is taken in. If it was stored before the
// outcome, it changes nothing.
func TestDeclaredBeforeTheOutcomeAndTakenInAfterIt(t *testing.T) {
	t.Parallel()
	failed := simulator.Failed(schema.StatusProcessingFailed, 0)
	type row struct {
		mode    consumer.Mode
		as      schema.Type // of the second message; the first is of a chat
		script  simulator.Script
		outcome string
	}
	for name, tt := range map[string]row{
		"schedule, failed": {
			consumer.Schedule, schema.Chat, failed, ns.FailedSubject(schema.ProcessingFailed, ""),
		},
		"schedule, failed, as another type": {
			consumer.Schedule, schema.Audio, simulator.Failed(schema.StatusFileUploadFailed, 0),
			ns.FailedSubject(schema.FileUploadFailed, ""),
		},
		"schedule, processed, as an audio": {
			consumer.Schedule, schema.Audio, simulator.Processed(0), ns.ProcessedSubject(schema.ToCXAI, ""),
		},
		"nak, failed, as another type": {
			consumer.Nak, schema.Audio, failed, ns.FailedSubject(schema.ProcessingFailed, ""),
		},
		"nak, processed, as a transcript too": {
			consumer.Nak, schema.Transcript, simulator.Processed(0), ns.ProcessedSubject(schema.ToCXAI, ""),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := onServer(t, tt.mode, nil)
			w := s.Start()
			id := s.Declare(schema.Chat, tt.script.With(stage.PendingOnce))
			s.WaitPolls(1)
			paused := ns.ConsumerIntake()
			if tt.mode == consumer.Nak {
				paused = ns.PollConsumer(tt.as)
			}
			// No outcome is stored before the second message is, and no worker takes that in before the outcome.
			resumeLane := s.pause(tt.mode.PollStream(ns), ns.PollConsumer(schema.Chat))
			resume := s.pause(ns.StreamDeclared(), paused)
			if n := s.Vendor.Count(); n != 1 {
				t.Fatalf("%d polls before the lane was paused, want 1", n)
			}
			s.DeclareAs(tt.as, id)
			resumeLane()
			s.WaitOutcomes(1)
			s.Until("only the second message to be stored, and no tombstone", func() bool {
				for _, name := range tt.mode.Streams(ns) {
					want := uint64(0)
					if name == ns.StreamDeclared() {
						want = 1
					}
					if state, err := s.Broker.Stream(s.Ctx, name); err != nil || state.Messages != want {
						return false
					}
				}
				return true
			})
			polls := s.Vendor.CountOf(id)
			resume()
			s.WaitDrained()
			s.WantOutcomes(tt.outcome + id)
			if n := s.Vendor.CountOf(id) - polls; n != 0 {
				t.Errorf("it was polled %d times more, want none", n)
			}
			if stats := w.Stats(); stats.DeclaredTwice+stats.DeclaredProcessed != 1 || stats.DeclaredWaits != 0 {
				t.Errorf("counted %+v, want it to have been declared twice", stats)
			}
			s.CheckIntervals()
		})
	}
}

// One identifier is one interaction: if two declared messages under two types wait, the one that was stored first
// begins the generation.
func TestFirstDeclaredWins(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		first := map[string]schema.Type{}
		var want []string
		for i := range 8 {
			id := s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0))
			first[id] = []schema.Type{schema.Audio, schema.Transcript}[i%2]
			dead := ns.FailedSubject(schema.ProcessingFailed, id)
			want = append(want, dead, ns.ProcessedSubject(schema.ToCXAI, id))
			if first[id] == schema.Audio {
				want = append(want, ns.ProcessedSubject(schema.ToTranscript, id))
			}
		}
		stored := func(o schema.Outcome) {
			if o.Reason == "" {
				return
			}
			types := []schema.Type{schema.Transcript, schema.Audio}
			if first[o.Identifier] == schema.Audio {
				types = []schema.Type{schema.Audio, schema.Transcript}
			}
			s.Vendor.Declare(o.Identifier, simulator.Processed(0))
			for _, typ := range types {
				time.Sleep(time.Millisecond) // what is declared at the time of an outcome counts as declared before
				s.DeclareAs(typ, o.Identifier)
			}
		}
		for range 2 {
			s.Start(stage.Ports{Outcomes: observed{s.Publisher(), stored}})
		}
		s.WaitOutcomes(len(want))
		s.WaitDrained()
		s.WantOutcomes(want...)
	})
}

// A worker stored a dead letter and died before the tombstone. The interaction is declared again while the reservation
// of that generation is pending: the new message waits until that generation has ended, whether or not it names the
// generation that it supersedes. Without a dead letter it counts as declared twice.
func TestReplayWaitsForTheGenerationThatItReplays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ replays, deadLettered bool }{
		"a replay":                               {true, true},
		"a replay, the dead letter is deleted":   {true, false},
		"declared again":                         {false, true},
		"declared twice, there is no deadletter": {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { testReplay(t, c.replays, c.deadLettered) })
		})
	}
}

// earlier is the dead letter of an earlier generation.
func earlier(id string, generation time.Time) schema.Outcome {
	return schema.Outcome{
		Identifier: id, Type: schema.Chat, Reason: schema.ProcessingFailed, Detail: "an earlier generation",
		Declaration: stage.Declaration(schema.Chat, id), Observed: generation.Add(time.Minute),
		Origin: schema.Origin{
			Stream: ns.StreamDeclared(), Subject: ns.DeclaredSubject(schema.Chat, id),
			Sequence: 1, Deliveries: 1, Stored: generation, Polls: 1,
		},
	}
}

// The clock of the server that stores a replayed message is behind that of the server that has stored the dead letter.
// The message begins a generation all the same, and that has an outcome.
func TestReplayByAClockThatIsBehind(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		id := uuid.NewString()
		s.Vendor.Declare(id, simulator.Processed(0).With(stage.PendingOnce))
		generation := time.Now().Add(-time.Hour).UTC()
		s.PublishMessage(broker.Publication{
			Subject: ns.DeclaredSubject(schema.Chat, id), Data: stage.Declaration(schema.Chat, id),
			Header: broker.Header{schema.HeaderReplays: {generation.Format(time.RFC3339Nano)}},
		})
		time.Sleep(time.Millisecond)
		dead := earlier(id, generation)
		data, err := dead.Marshal()
		s.Check(err)
		s.Publish(ns.OutcomeSubject(dead), string(data))
		s.Start()
		s.WantOutcomes(ns.OutcomeSubject(dead), ns.ProcessedSubject(schema.ToCXAI, id))
		s.WaitDrained()
	})
}

func testReplay(t *testing.T, replays, deadLettered bool) {
	s := inMemory(t, consumer.Schedule, nil)
	id := uuid.NewString()
	s.Vendor.Declare(id, simulator.Failed(schema.StatusProcessingFailed, 0))
	generation := time.Now().Add(-time.Hour).UTC()
	dead := earlier(id, generation)
	want := 0
	if deadLettered {
		data, err := dead.Marshal()
		s.Check(err)
		s.Publish(ns.OutcomeSubject(dead), string(data))
		want++
	}
	time.Sleep(time.Millisecond) // what is declared at the time of an outcome counts as declared before
	s.PublishMessage(broker.Publication{
		Subject: ns.HoldSubject(schema.Chat, id), Data: stage.Declaration(schema.Chat, id), Header: broker.Header{
			schema.HeaderPoll: {"2"}, schema.HeaderGeneration: {generation.Format(time.RFC3339Nano)},
		},
		Schedule: broker.Schedule{At: time.Now().Add(2 * time.Second), Target: ns.PollSubject(schema.Chat, id)},
	})
	again := broker.Publication{
		Subject: ns.DeclaredSubject(schema.Chat, id), Data: stage.Declaration(schema.Chat, id),
		Header: broker.Header{},
	}
	if replays {
		again.Header.Set(schema.HeaderReplays, generation.Format(time.RFC3339Nano))
	}
	s.PublishMessage(again)

	w := s.Start()
	newGeneration := replays || deadLettered
	want++
	if newGeneration && !deadLettered {
		want++ // the earlier generation is polled once more, and ends for the first time
	}
	last := s.WaitOutcomes(want)[want-1]
	if last.Subject != ns.OutcomeSubject(dead) || last.Data.Detail == dead.Detail {
		t.Errorf("the last outcome is on %s: %s", last.Subject, last.Data.Detail)
	}
	s.WaitDrained()
	if newGeneration {
		s.CheckIntervals()
	} else if polls := s.Vendor.CountOf(id); polls != 1 {
		t.Errorf("%d polls, want one", polls)
	}
	if got := s.Outcomes(); len(got) != want {
		t.Errorf("%d outcomes, want %d", len(got), want)
	}
	if stats := w.Stats(); stats.DeclaredWaits > 0 != newGeneration || stats.DeclaredTwice > 0 == newGeneration {
		t.Errorf("counted %d waits, %d declared twice", stats.DeclaredWaits, stats.DeclaredTwice)
	}
}

// A message on the poll subject that no reservation made is polled like another.
func TestDueMessageWithoutAReservation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		id := uuid.NewString()
		s.Vendor.Declare(id, simulator.Processed(600*time.Millisecond).With(stage.PendingOnce))
		s.Publish(ns.PollSubject(schema.Chat, id), string(stage.Declaration(schema.Chat, id)))
		s.Publish(ns.PollSubject(schema.Chat, "garbage"), `no JSON`)
		s.Start()
		want := []string{
			ns.ProcessedSubject(schema.ToCXAI, id), ns.FailedSubject(schema.InvalidMessage, "garbage"),
		}
		s.WantOutcomes(want...)
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// A due message that no reservation made does not replace the reservation of an interaction that is polled.
func TestDueMessageBesideAReservation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		id := s.Declare(schema.Chat, simulator.Processed(2*time.Second))
		s.Start()
		s.WaitPollsOf(id, 1)
		time.Sleep(s.Config.Intervals.Of(schema.Chat) / 2) // the next poll is reserved, and not due
		s.Publish(ns.PollSubject(schema.Chat, id), string(stage.Declaration(schema.Chat, id)))
		s.WantOutcomes(ns.ProcessedSubject(schema.ToCXAI, id))
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// If an interaction has its outcome, it is not polled, whatever other declared messages are. The intake does not search
// for them.
func TestDeclaredAfterItsOutcome(t *testing.T) {
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		id := uuid.NewString()
		for _, to := range (schema.Declared{Type: schema.Audio}).Destinations() {
			o := schema.Outcome{Identifier: id, Type: schema.Audio, Destination: to, Observed: time.Now()}
			o.Origin.Stored = time.Now().Add(-time.Hour)
			data, err := o.Marshal()
			s.Check(err)
			s.Publish(ns.OutcomeSubject(o), string(data))
		}
		if mode == consumer.Schedule {
			s.Fake.Inject(fake.Fault{Op: fake.Next, Object: ns.StreamDeclared(), Err: broker.ErrNoAnswer})
		}
		s.DeclareAs(schema.Audio, id)
		s.Start()
		s.WaitDrained()
		if polls := s.Vendor.Count(); polls != 0 {
			t.Errorf("%d polls, want none", polls)
		}
		if s.Fake.Uninject() != 1 && mode == consumer.Schedule {
			t.Error("the declared messages were read")
		}
		s.wantProcessed(id)
	})
}

// The first reservation for a message that was declared twice reaches the broker when nothing is left of the generation
// that ended, and begins another one. That is polled, and has no outcome. A message that is declared during its polls
// begins a generation.
func TestDeclaredTwiceAndReservedLate(t *testing.T) {
	for name, again := range map[string]bool{"declared twice": false, "and then declared again": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { testReservedLate(t, again) })
		})
	}
}

func testReservedLate(t *testing.T, again bool) {
	const late = 30 * time.Second // the message was redelivered after AckWait, and dropped
	s := inMemory(t, consumer.Schedule, nil)
	polls := 0
	s.Vendor.OnPoll(func(p simulator.Poll) {
		polls++
		switch {
		case polls == 1:
			s.Fake.Inject(fake.Fault{
				Op: fake.Publish, Object: ns.HoldSubject(schema.Chat, p.Identifier), Delay: late,
			})
		case polls > 2 || !again:
			return
		}
		s.DeclareAs(schema.Chat, p.Identifier)
		time.Sleep(50 * time.Millisecond) // a worker takes it in before the vendor answers
	})
	w := s.Start()
	id := s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0))
	s.WantOutcomes(ns.FailedSubject(schema.ProcessingFailed, id))
	if s.Fake.Uninject() != 0 {
		t.Fatal("no reservation was late")
	}
	s.WaitPolls(2) // the second one is that of the late reservation
	want := 1
	if again {
		want++
	}
	s.WaitOutcomes(want)
	s.WaitDrained()
	if got := len(s.Outcomes()); got != want {
		t.Errorf("%d outcomes, want %d", got, want)
	}
	s.CheckIntervals()
	if stats := w.Stats(); stats.DeclaredTwice != 1 {
		t.Errorf("%d messages were dropped as declared twice, want one", stats.DeclaredTwice)
	}
}

// With delayed naks, a message that was declared under another type, and whose first delivery was lost, waits for the
// outcome. It is not polled, and has no outcome.
func TestDeclaredTwiceAndFirstDeliveryLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Nak, nil)
		id := s.Declare(schema.Audio, simulator.Failed(schema.StatusProcessingFailed, 0))
		time.Sleep(time.Millisecond)
		s.DeclareAs(schema.Chat, id)
		lost := 0
		s.Check(s.Fake.Puller(ns.StreamDeclared(), ns.PollConsumer(schema.Chat)).Pull(1, time.Second,
			func(broker.Delivery) { lost++ }))
		if lost != 1 {
			t.Fatalf("%d deliveries, want one", lost)
		}
		s.Start()
		dead := ns.FailedSubject(schema.ProcessingFailed, id)
		s.WantOutcomes(dead)
		s.WaitDrained()
		s.WantOutcomes(dead)
		if polls := s.Vendor.CountOf(id); polls != 1 {
			t.Errorf("%d polls, want one", polls)
		}
	})
}
