package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/schema/broker"
	"statusworker/statusclient"
	"statusworker/statusclient/simulator"
)

func TestEveryFailureHasItsReason(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) {
			c.NotFoundGrace, c.Deadline, c.FailedStatuses = time.Second, 4*time.Second, []schema.Status{"transcriptionFailed"}
		})
		want := map[string]schema.Reason{} // by subject
		expect := func(r schema.Reason, script *simulator.Script) {
			id := uuid.NewString()
			if script != nil {
				s.Vendor.Declare(id, *script)
			}
			s.DeclareAs(schema.Chat, id)
			want[schema.FailedSubject(r, id)] = r
		}
		for _, status := range schema.Statuses() {
			if status.Meaning() == schema.Failed {
				failed := simulator.Failed(status, 300*time.Millisecond)
				expect(status.Reason(), &failed)
			}
		}
		never := simulator.Never()
		rejected := simulator.Never().With(simulator.Refusal(400))
		named := simulator.Constant("transcriptionFailed")
		expect(schema.VendorFailed, &named)
		expect(schema.NotFound, nil)
		expect(schema.Rejected, &rejected)
		expect(schema.DeadlineExceeded, &never)

		for _, bad := range []struct{ token, message string }{
			{uuid.NewString(), `{"type":`},
			{uuid.NewString(), `{"interactionIdentifier":"` + uuid.NewString() + `","type":"chat"}`},
			{uuid.NewString(), strings.Repeat(" ", 100<<10)},
			{"nothing", `{"interactionIdentifier":"../../x","type":"chat"}`},
		} {
			s.Publish(schema.DeclaredSubject(schema.Chat, bad.token), bad.message)
			want[schema.FailedSubject(schema.InvalidMessage, bad.token)] = schema.InvalidMessage
		}
		s.Start()
		had := map[schema.Reason]bool{}
		for _, o := range s.WaitOutcomes(len(want)) {
			if reason := want[o.Subject]; reason == "" || o.Data.Reason != reason || o.Data.Detail == "" {
				t.Errorf("outcome on %s, reason %q, detail %q, want reason %q", o.Subject, o.Data.Reason, o.Data.Detail, reason)
			}
			had[o.Data.Reason] = true
		}
		for _, r := range schema.Reasons() {
			if !had[r] && r != schema.InternalError { // that takes a bug
				t.Errorf("nothing failed as %s", r)
			}
		}
		s.WaitDrained()
		s.CheckIntervals()
		if got := s.WaitOutcomes(len(want)); len(got) != len(want) {
			t.Errorf("%d outcomes, want %d", len(got), len(want))
		}
	})
}

func TestSubjectsThatNoInteractionHas(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		id := uuid.NewString()
		want := map[string]int{}
		subjects := []string{"interactions.declared.chat.*", schema.DeclaredSubject(schema.Chat, strings.ToUpper(id))}
		if mode == consumer.Schedule {
			// With naks the broker refuses the second, and keeps the first without ever delivering it.
			subjects = append(subjects, "interactions.declared.chat.>", "interactions.declared.video."+id)
		}
		for i, subject := range subjects {
			s.Publish(subject, fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id))
			want[schema.FailedSubject(schema.InvalidMessage, schema.DeadLetterToken(subject, uint64(i+1)))] = 1
		}
		s.Start()
		got := s.CountOutcomes(len(want))
		for subject := range want {
			if got[subject] != 1 {
				t.Errorf("%s has %d outcomes, want 1: %v", subject, got[subject], got)
			}
		}
		s.WaitDrained()
		if s.Vendor.Count() != 0 {
			t.Error("the vendor was asked about an invalid message")
		}
	})
}

func TestFixedMessageGetsThrough(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, nil)
	s.Start()
	id := uuid.NewString()
	s.Vendor.Declare(id, simulator.Processed(0))
	s.Publish(schema.DeclaredSubject(schema.Chat, id), `{"interactionIdentifier":"`+id+`"}`)
	s.WaitOutcomes(1)
	s.declareUntilAccepted(schema.Chat, id)
	got := s.WaitOutcomes(2)
	if want := schema.ProcessedSubject(schema.ToCXAI, id); got[1].Subject != want {
		t.Errorf("outcome on %s, want %s", got[1].Subject, want)
	}
}

// The vendor's documented answer, served by something that is not the simulator.
func TestDocumentedAnswerVerbatim(t *testing.T) {
	t.Parallel()
	sample, err := os.ReadFile("testdata/status-processed.json")
	if err != nil {
		t.Fatal(err)
	}
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(sample)
	}))
	t.Cleanup(vendor.Close)
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		client, err := statusclient.New(statusclient.Config{BaseURL: vendor.URL + "/v1", Token: "a-token"})
		if err != nil {
			t.Fatal(err)
		}
		s.Start(stage.Ports{Client: client})
		const id = "bd5c92f3-c228-44a6-91bf-b52672569878"
		declaration := `{"type":"audio","interactionIdentifier":"` + id + `","z":[1.50,1e3,12345678901234567890],"a":"<&>\u00e9"}`
		s.Publish(schema.DeclaredSubject(schema.Audio, id), declaration)
		var compact json.RawMessage
		if err := json.Unmarshal(sample, &compact); err != nil {
			t.Fatal(err)
		}
		subjects := map[string]bool{}
		for _, o := range s.WaitOutcomes(2) {
			subjects[o.Subject] = true
			if string(o.Data.Declaration) != declaration {
				t.Errorf("declaration %s, want %s", o.Data.Declaration, declaration)
			}
			var got, want any
			if json.Unmarshal(o.Data.Answer, &got) != nil || json.Unmarshal(sample, &want) != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("answer %s, want %s", o.Data.Answer, sample)
			}
		}
		for _, to := range []schema.Destination{schema.ToTranscript, schema.ToCXAI} {
			if !subjects[schema.ProcessedSubject(to, id)] {
				t.Errorf("no outcome for %s: %v", to, subjects)
			}
		}
	})
}

func TestDeclaredTwiceAtEveryStage(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, nil)
	const n = 12
	ids := make([]string, n)
	for i := range ids {
		ids[i] = uuid.NewString()
		s.Vendor.Declare(ids[i], simulator.Processed(2*time.Second).With(stage.PendingOnce))
		s.DeclareAs(schema.Chat, ids[i])
		// Not yet taken in: the broker refuses the second one.
		if _, err := s.JS.Publish(s.Ctx, schema.DeclaredSubject(schema.Chat, ids[i]), []byte(`{}`)); err == nil {
			t.Error("a second message on the subject was accepted")
		}
	}
	w := s.Start()
	// Again and again while they are polled, also under another type and at the very moment of a poll.
	s.Vendor.OnPoll(func(p simulator.Poll) {
		for _, typ := range []schema.Type{schema.Chat, schema.Audio} {
			_, _ = s.JS.Publish(context.Background(), schema.DeclaredSubject(typ, p.Identifier), []byte(fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q,"includeAiResults":true}`, p.Identifier, typ)))
		}
	})
	s.WaitOutcomes(n)
	s.Vendor.OnPoll(nil)
	s.WaitDrained()
	s.CheckIntervals()
	perSubject := map[string]int{}
	for _, o := range s.WaitOutcomes(n) {
		perSubject[o.Subject]++
	}
	for _, id := range ids {
		if perSubject[schema.ProcessedSubject(schema.ToCXAI, id)] != 1 {
			t.Errorf("%s has %d outcomes", id, perSubject[schema.ProcessedSubject(schema.ToCXAI, id)])
		}
	}
	if w.Stats().DeclaredTwice == 0 {
		t.Error("nothing was counted as declared twice")
	}
}

func TestDeclaredAgainAfterItsEnd(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		w := s.Start()
		id := s.Declare(schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0))
		s.WaitOutcomes(1)
		// At once: with reservations, the tombstone is still there. It failed, so it may succeed now.
		s.Vendor.Declare(id, simulator.Processed(0))
		s.declareUntilAccepted(schema.Chat, id)
		got := s.WaitOutcomes(2)
		if want := schema.ProcessedSubject(schema.ToCXAI, id); got[1].Subject != want {
			t.Fatalf("outcome on %s, want %s", got[1].Subject, want)
		}
		s.WaitDrained()
		// Processed and declared once more, under the same type and another: nothing comes of it.
		polls := s.Vendor.CountOf(id)
		s.declareUntilAccepted(schema.Chat, id)
		s.declareUntilAccepted(schema.Audio, id)
		s.WaitDrained()
		if n := s.Vendor.CountOf(id); n != polls || w.Stats().DeclaredProcessed != 2 {
			t.Errorf("%d polls, and %d counted as declared after processed events, want none and 2", n-polls, w.Stats().DeclaredProcessed)
		}
		s.CheckIntervals()
		if got := s.WaitOutcomes(2); len(got) != 2 {
			t.Errorf("%d outcomes, want 2", len(got))
		}
	})
}

// lingering lets time pass after an outcome is stored: as a worker that dies there, or a polls stream that elects.
// Without it the tombstone is quicker, by chance, than who declares again.
type lingering struct{ consumer.OutcomePublisher }

func (l lingering) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	err := l.OutcomePublisher.Publish(ctx, outcomes...)
	time.Sleep(100 * time.Millisecond)
	return err
}

// Who declares again as soon as the outcome is seen may be quicker than the tombstone. It is another life all the same.
func TestDeclaredAgainBeforeTheTombstone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		typ     schema.Type
		first   simulator.Script
		members []string
		outcome string // of the first life
		want    string // of the second
	}{
		"after a dead letter": {schema.Chat, simulator.Failed(schema.StatusProcessingFailed, 0), nil, schema.FailedSubject(schema.ProcessingFailed, "*"), schema.ProcessedSubject(schema.ToCXAI, "")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule, nil)
			again := map[string]bool{}
			s.onStored(tt.outcome, func(id string) {
				if again[id] {
					return
				}
				again[id] = true
				s.Vendor.Declare(id, simulator.Processed(0))
				_ = s.NC.Publish(schema.DeclaredSubject(tt.typ, id), []byte(`{"interactionIdentifier":"`+id+`","type":"`+string(tt.typ)+`"}`))
			})
			w := s.Start(stage.Ports{Outcomes: lingering{s.Publisher()}})
			const n = 10
			for range n {
				s.Declare(tt.typ, tt.first, tt.members...)
			}
			got := 0
			for _, o := range s.WaitOutcomes(2 * n) {
				if strings.HasPrefix(o.Subject, tt.want) {
					got++
				}
			}
			if stats := w.Stats(); got != n || stats.DeclaredTwice != 0 {
				t.Errorf("%d of %d had the outcome of their second life, %d were dropped as declared twice", got, n, stats.DeclaredTwice)
			}
			s.WaitDrained()
		})
	}
}

// While the poll of an interaction is due and nobody makes it, declaring it once more changes nothing: what the first
// declared message asked for is published. So it is where half of a success is all that is stored.
func TestDeclaredTwiceWhileAPollIsDue(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]bool{"never polled": false, "half a success": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule, func(c *consumer.Config) { c.NotFoundGrace = time.Millisecond })
			id := s.Declare(schema.Audio, simulator.Processed(0))
			w := s.Start(stage.Ports{Outcomes: &halfway{OutcomePublisher: s.Publisher(), vendor: s.Vendor}})
			s.Until("the first worker to be done", func() bool { return !half && w.Stats().TakenIn == 1 || w.Stats().Faults == 1 })
			w.Stop()
			_ = w.Wait()
			polls, err := s.JS.Stream(s.Ctx, schema.StreamPolls)
			if err != nil {
				t.Fatal(err)
			}
			lane := schema.PollConsumer(schema.Audio)
			if _, err := polls.PauseConsumer(s.Ctx, lane, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			s.Until("a poll to be due", func() bool {
				_, err := polls.GetLastMsgForSubject(s.Ctx, schema.PollSubjects(id))
				return err == nil
			})
			s.DeclareAs(schema.Audio, id, `"includeAiResults":false`)
			second := s.Start()
			s.Until("the second message to be refused", func() bool {
				stats := second.Stats()
				return stats.RefusedReservations+stats.TakenIn+stats.DeclaredProcessed > 0
			})
			if stats := second.Stats(); stats.TakenIn > 0 {
				t.Errorf("a second life was begun before the first had ended: %+v", stats)
			}
			if _, err := polls.ResumeConsumer(s.Ctx, lane); err != nil {
				t.Fatal(err)
			}
			s.WaitDrained()
			got := s.CountOutcomes(2)
			for _, to := range []schema.Destination{schema.ToTranscript, schema.ToCXAI} {
				if got[schema.ProcessedSubject(to, id)] != 1 {
					t.Errorf("outcomes %v, want one for %s", got, to)
				}
			}
		})
	}
}

// What somebody else has published among the polls of an interaction keeps it from nothing where it is due, and is told
// where it lies in the reservation's place.
func TestForeignMessagesAmongThePolls(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(id string) string{
		"due, where no lane looks": func(id string) string { return "interactions.poll.bogus." + id },
		"due":                      func(id string) string { return schema.PollSubject(schema.Audio, id) },
		"held":                     func(id string) string { return schema.HoldSubject(schema.Chat, id) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule, nil)
			id := uuid.NewString()
			s.Vendor.Declare(id, simulator.Processed(0))
			s.Publish(of(id), "nonsense")
			s.DeclareAs(schema.Chat, id)
			w := s.Start()
			if name == "held" {
				s.Until("the fault to be told", func() bool { return w.Stats().Faults > 0 })
				return
			}
			for n := 1; ; n++ { // beside the dead letter of what is nonsense
				if all := s.WaitOutcomes(n); all[n-1].Subject == schema.ProcessedSubject(schema.ToCXAI, id) {
					return
				}
			}
		})
	}
}

// panicky panics at the first poll of each interaction that it is asked about.
type panicky struct {
	consumer.StatusClient
	left atomic.Int64
}

func (p *panicky) Status(ctx context.Context, id string, sendBy time.Time) (schema.Answer, error) {
	if p.left.Add(-1) >= 0 {
		panic("as the test wants it")
	}
	return p.StatusClient.Status(ctx, id, sendBy)
}

func TestPanicsAreContained(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		client := &panicky{StatusClient: s.Client()}
		client.left.Store(3)
		w := s.Start(stage.Ports{Client: client})
		for range 5 {
			s.Declare(schema.Chat, simulator.Processed(0))
		}
		s.WaitOutcomes(5)
		s.WaitDrained()
		if n := w.Stats().Panics; n != 3 {
			t.Errorf("%d panics counted, want 3", n)
		}
	})
}

// refusing fails a few times, as a broker in trouble does.
type refusing struct {
	consumer.OutcomePublisher
	left atomic.Int64
}

func (r *refusing) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	if r.left.Add(-1) >= 0 {
		return nats.ErrTimeout
	}
	return r.OutcomePublisher.Publish(ctx, outcomes...)
}

func TestOutcomeThatCannotBePublishedComesBack(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		out := &refusing{OutcomePublisher: s.Publisher()}
		out.left.Store(4)
		s.Start(stage.Ports{Outcomes: out})
		for range 3 {
			s.Declare(schema.Chat, simulator.Processed(0))
		}
		s.WaitOutcomes(3)
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// halfway comes to its end after the first of two outcomes, and then lets the vendor forget the interaction.
type halfway struct {
	consumer.OutcomePublisher
	vendor *simulator.Simulator
	once   sync.Once
}

func (h *halfway) Publish(ctx context.Context, outcomes ...schema.Outcome) error {
	first := false
	h.once.Do(func() { first = true })
	if !first {
		return h.OutcomePublisher.Publish(ctx, outcomes...)
	}
	h.vendor.Forget(outcomes[0].Identifier)
	return errors.Join(h.OutcomePublisher.Publish(ctx, outcomes[0]), nats.ErrTimeout)
}

func TestHalfASuccessIsCompleted(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.NotFoundGrace = time.Millisecond })
		s.Start(stage.Ports{Outcomes: &halfway{OutcomePublisher: s.Publisher(), vendor: s.Vendor}})
		id := s.Declare(schema.Audio, simulator.Processed(0))
		got := s.CountOutcomes(2)
		for _, to := range []schema.Destination{schema.ToTranscript, schema.ToCXAI} {
			if got[schema.ProcessedSubject(to, id)] != 1 {
				t.Errorf("outcomes %v, want one for %s", got, to)
			}
		}
		s.WaitDrained()
		s.CheckIntervals()
	})
}

func TestVendorFailureFailsNoInteraction(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]simulator.Fault{
		"unavailable": simulator.Refusal(503), "unauthorized": simulator.Refusal(401), "garbage": {Kind: simulator.NotJSON},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule, nil)
			s.Vendor.SetFaults(fault)
			const n = 40
			for range n {
				s.Declare(schema.Chat, simulator.Processed(0))
			}
			s.Start()
			// The first rests are of 1, 2 and 4 seconds, give or take a fifth: two probes take some three seconds.
			ctx, cancel := context.WithTimeout(s.Ctx, 20*time.Second)
			defer cancel()
			if err := s.Vendor.Wait(ctx, func(v *simulator.Simulator) bool {
				polls := v.Polls()
				return len(polls) > 2 && polls[len(polls)-1].At.Sub(polls[0].At) > 2500*time.Millisecond
			}); err != nil {
				t.Fatal(err)
			}
			// The burst that was out when the trouble began is bounded by the slots, then comes one poll a rest.
			polls := s.Vendor.Polls()
			late := 0
			for _, p := range polls {
				if p.At.Sub(polls[0].At) > 700*time.Millisecond {
					late++
				}
			}
			if late > 3 {
				t.Errorf("%d polls while the worker rested, want one a rest", late)
			}
			s.Vendor.SetFaults()
			for _, o := range s.WaitOutcomes(n) {
				if strings.HasPrefix(o.Subject, "interactions.failed.") {
					t.Errorf("dead letter %s: %s", o.Subject, o.Data.Detail)
				}
			}
			s.WaitDrained()
			s.CheckIntervals()
		})
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		s.Declare(schema.Chat, simulator.Processed(0).With(simulator.Throttle(2*time.Second).On(1, 1)))
		s.Start()
		s.WaitOutcomes(1)
		if gap, _, _ := s.Vendor.MinGap(); gap < 2*time.Second {
			t.Errorf("polled again after %s, the vendor asked for 2 s", gap)
		}
	})
}

func TestDeletedConsumerIsFatal(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		w := s.Start()
		if err := s.JS.DeleteConsumer(s.Ctx, mode.PollStream(), schema.PollConsumer(schema.Chat)); err != nil {
			t.Fatal(err)
		}
		if err := w.Wait(); err == nil || !strings.Contains(err.Error(), "statusworker provision") {
			t.Errorf("the worker ended with %v, want an error that names the command", err)
		}
	})
}

// A connection that is closed for good ends the worker, also where a lane is waiting for the broker to answer again.
func TestClosedConnectionIsFatal(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		w := s.Start(stage.Ports{Broker: s.Broker})
		s.Server.Stop()
		s.Until("a lane to notice", func() bool { return w.Ready() != nil })
		s.endsWithItsConnection(w)
	})
}

// endsWithItsConnection closes the stage's connection, on which a worker runs.
func (s *testStage) endsWithItsConnection(w *stage.Worker) {
	s.T.Helper()
	s.NC.Close()
	if err := w.Wait(); !errors.Is(err, nats.ErrConnectionClosed) {
		s.T.Errorf("the worker ended with %v, want %v", err, nats.ErrConnectionClosed)
	}
}

// A worker that is stopped finishes the polls that are out, and begins no other: each interaction is polled once, by
// one worker or the other.
func TestShutdownFinishesWhatIsOut(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.Concurrency = 8 })
		const n, out = 20, 4
		ids := map[string]bool{}
		for range n {
			id := uuid.NewString()
			ids[id] = true
			s.Vendor.Declare(id, simulator.Processed(0))
			s.DeclareAs(schema.Chat, id)
		}
		stopped := make(chan struct{})
		s.Vendor.OnPoll(func(simulator.Poll) { <-stopped })
		release := sync.OnceFunc(func() { close(stopped) })
		t.Cleanup(release) // before the vendor is closed
		w := s.Start()
		s.WaitPolls(out)
		w.Stop()
		release()
		if err := w.Wait(); err != nil {
			t.Fatalf("the worker ended with %v", err)
		}
		finished := s.stored(ids)
		for _, p := range s.Vendor.Polls() {
			if !finished[p.Identifier] {
				t.Errorf("%s was polled when the worker was stopped, and has no outcome", p.Identifier)
			}
		}
		if len(finished) < out || len(finished) == n {
			t.Errorf("%d of %d interactions have ended, want at least %d and not all", len(finished), n, out)
		}
		s.Start()
		s.WaitOutcomes(n)
		s.WaitDrained()
		if all := s.stored(ids); len(all) != n {
			t.Errorf("%d of %d interactions have an outcome", len(all), n)
		}
		for id := range ids {
			if polls := s.Vendor.CountOf(id); polls != 1 {
				t.Errorf("%s was polled %d times, want once", id, polls)
			}
		}
	})
}

// stored are those of some interactions that have an outcome.
func (s *testStage) stored(ids map[string]bool) map[string]bool {
	s.T.Helper()
	stream, err := s.JS.Stream(s.Ctx, schema.StreamOutcomes)
	if err != nil {
		s.T.Fatal(err)
	}
	found := map[string]bool{}
	for id := range ids {
		switch _, err := stream.GetLastMsgForSubject(s.Ctx, schema.OutcomeSubjects(id)); {
		case err == nil:
			found[id] = true
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			s.T.Fatal(err)
		}
	}
	return found
}

func TestLeavingAtOnceLosesNothing(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.RequestTimeout = 3 * time.Second })
		id := s.Declare(schema.Chat, simulator.Processed(0).With(simulator.Fault{Kind: simulator.Hangs}.On(1, 1)))
		w := s.Start()
		s.WaitPollsOf(id, 1)
		w.Stop()
		w.Kill()
		if err := w.Wait(); err != nil {
			t.Fatalf("the worker ended with %v", err)
		}
		s.Start()
		s.WaitOutcomes(1)
		s.WaitDrained()
		s.CheckIntervals()
	})
}

func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		const n = 30
		for range n {
			s.Declare(schema.Chat, simulator.Processed(3*time.Second))
		}
		s.Start()
		for polls := range 2 {
			s.WaitPolls(n * (polls + 1))
			if err := s.Server.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		s.WaitOutcomes(n)
		s.WaitDrained()
		if mode == consumer.Schedule {
			s.CheckIntervals() // delayed naks are not, when a broker goes
		}
	})
}

func TestThreeWorkers(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		const n = 300
		for range n {
			s.Declare(schema.Chat, simulator.Processed(1500*time.Millisecond).With(stage.PendingOnce))
		}
		for range 3 {
			s.Start()
		}
		s.WaitOutcomes(n)
		s.WaitDrained()
		s.CheckIntervals()
		perSubject := s.CountOutcomes(n)
		if len(perSubject) != n {
			t.Errorf("outcomes of %d interactions, want %d", len(perSubject), n)
		}
		for subject, count := range perSubject {
			if count != 1 {
				t.Errorf("%s has %d outcomes", subject, count)
			}
		}
	})
}

func TestMessageOnThePollSubjectThatNobodyReserved(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, nil)
	id := uuid.NewString()
	s.Vendor.Declare(id, simulator.Processed(600*time.Millisecond).With(stage.PendingOnce))
	s.Publish(schema.PollSubject(schema.Chat, id), fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id))
	s.Publish(schema.PollSubject(schema.Chat, "garbage"), `no JSON`)
	s.Start()
	got := s.CountOutcomes(2)
	for _, want := range []string{schema.ProcessedSubject(schema.ToCXAI, id), schema.FailedSubject(schema.InvalidMessage, "garbage")} {
		if got[want] != 1 {
			t.Errorf("%s has %d outcomes, want 1: %v", want, got[want], got)
		}
	}
	s.WaitDrained()
	s.CheckIntervals()
}

func TestFloodOnOneLaneDoesNotStarveAnother(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, func(c *consumer.Config) { c.Concurrency = 8; c.RequestTimeout = 5 * time.Second })
	// Every poll of a chat hangs until the request times out.
	for range 60 {
		s.Declare(schema.Chat, simulator.Never().With(simulator.Fault{Kind: simulator.Delayed, Delay: 4 * time.Second}))
	}
	s.Start()
	s.WaitPolls(5)
	id := s.Declare(schema.Transcript, simulator.Processed(0))
	if got := s.WaitOutcomes(1); got[0].Subject != schema.ProcessedSubject(schema.ToCXAI, id) {
		t.Errorf("outcome on %s", got[0].Subject)
	}
	if polls := s.Vendor.CountOf(id); polls == 0 {
		t.Error("the transcript was never polled")
	}
}

func TestTraceparentIsHandedOn(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, nil)
		const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		if header, event := s.tracedOutcome(trace); !slices.Equal(header, []string{trace}) || event != trace {
			t.Errorf("the outcome has the header %q and the attribute %q, want %s in both", header, event, trace)
		}
	})
}

// tracedOutcome has an interaction polled twice whose declared message has a traceparent, and gives those of its
// outcome.
func (s *testStage) tracedOutcome(traceparent string) (header []string, attribute string) {
	s.T.Helper()
	id := uuid.NewString()
	s.Vendor.Declare(id, simulator.Processed(3*time.Second)) // some polls, with naks too
	s.PublishMessage(broker.Publication{
		Subject: schema.DeclaredSubject(schema.Chat, id), Data: stage.Declaration(schema.Chat, id),
		Header: broker.Header{schema.HeaderTraceparent: {traceparent}},
	})
	w := s.Start()
	outcome := s.WantOutcomes(schema.ProcessedSubject(schema.ToCXAI, id))[0]
	if polls, faults := s.Vendor.CountOf(id), w.Stats().Faults; polls < 2 || faults > 0 {
		s.T.Errorf("%d polls, want 2 or more; %d faults, want none", polls, faults)
	}
	return outcome.Header[schema.HeaderTraceparent], outcome.Traceparent
}

// A vendor that takes longer than the guidance has answered all the same: the outcome is published, be it the
// deadline's.
func TestAnswerLaterThanTheNextPoll(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.RequestTimeout, c.Deadline = 3*time.Second, 4*time.Second })
		slow := simulator.Fault{Kind: simulator.Delayed, Delay: stage.Short.Chat + 700*time.Millisecond}
		done, never := uuid.NewString(), uuid.NewString()
		s.Vendor.Declare(done, simulator.Processed(0).With(slow))
		s.Vendor.Declare(never, simulator.Never().With(slow))
		s.DeclareAs(schema.Chat, done)
		s.DeclareAs(schema.Chat, never)
		s.Start()
		got := s.CountOutcomes(2)
		for _, want := range []string{schema.ProcessedSubject(schema.ToCXAI, done), schema.FailedSubject(schema.DeadlineExceeded, never)} {
			if got[want] != 1 {
				t.Errorf("%s has %d outcomes, want 1: %v", want, got[want], got)
			}
		}
		s.WaitDrained()
		s.CheckIntervals()
	})
}

// Declared again at the very moment at which the tombstone of the life before falls due.
func TestDeclaredAgainAsTheTombstoneFallsDue(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, func(c *consumer.Config) { c.Concurrency = 256 })
	const n = 200
	ids := make([]string, n)
	for i := range ids {
		ids[i] = uuid.NewString()
		s.Vendor.Declare(ids[i], simulator.Failed(schema.StatusProcessingFailed, 0))
		s.DeclareAs(schema.Chat, ids[i])
	}
	s.Start()
	s.WaitOutcomes(n)
	stream, err := s.JS.Stream(s.Ctx, schema.StreamPolls)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			s.Vendor.Declare(id, simulator.Processed(0))
			// A broker looks for what is due four times a second, so most of these meet it as it fires.
			if m, err := stream.GetLastMsgForSubject(s.Ctx, schema.HoldSubjects(id)); err == nil {
				if due, err := time.Parse("@at "+time.RFC3339Nano, m.Header.Get("Nats-Schedule")); err == nil {
					select {
					case <-time.After(time.Until(due.Add(100 * time.Millisecond))):
					case <-s.Ctx.Done():
					}
				}
			}
			s.declareUntilAccepted(schema.Chat, id)
		})
	}
	all.Wait()
	got := s.CountOutcomes(2 * n)
	for _, id := range ids {
		if got[schema.ProcessedSubject(schema.ToCXAI, id)] != 1 {
			t.Errorf("%s was declared again, and has no outcome of its own", id)
		}
	}
	s.WaitDrained()
	s.CheckIntervals()
}

// A header that is no trace context, be it larger than a reservation can carry, is left behind.
func TestTraceparentThatIsNone(t *testing.T) {
	t.Parallel()
	for name, traceparent := range map[string]string{
		"65,000 bytes": strings.Repeat("x", 65000),
		"zero":         "00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"version ff":   "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"upper case":   "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, consumer.Schedule, nil)
			if header, event := s.tracedOutcome(traceparent); len(header) > 0 || event != "" {
				t.Errorf("the outcome has the header %.80q and the attribute %.80q, want neither", header, event)
			}
		})
	}
}

// suspended is a clock that once stood still, as a process does on a suspended machine.
type suspended struct{ lag atomic.Int64 }

func (c *suspended) now() time.Time { return time.Now().Add(-time.Duration(c.lag.Load())) }

func TestSuspendedProcess(t *testing.T) {
	t.Parallel()
	clock := &suspended{}
	s := newStage(t, consumer.Schedule, func(c *consumer.Config) { c.Now = clock.now })
	id := s.Declare(schema.Chat, simulator.Processed(5*time.Second))
	s.Start()
	s.WaitPollsOf(id, 2)
	clock.lag.Store(int64(20 * time.Second))
	s.WaitOutcomes(1)
	s.WaitDrained()
	s.CheckIntervals()
}

// With a rate limit, what has been polled does not keep what has not from its first poll, however little the rate limit
// is.
func TestNaksLetTheNewHaveTheirTurn(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Nak, func(c *consumer.Config) { c.MaxPollsPerSecond = 5 })
	for range 20 { // they alone would use twice the rate limit
		s.Declare(schema.Chat, simulator.Never())
	}
	s.Start()
	s.WaitPolls(20)
	const n = 10
	for range n {
		s.Declare(schema.Chat, simulator.Processed(0))
	}
	s.WaitOutcomes(n)
	s.CheckIntervals()
}

// A connection that is closed ends a worker also while no lane pulls, because it has no share of the rate limit yet.
func TestClosedConnectionIsFatalWithoutAShare(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, func(c *consumer.Config) { c.MaxPollsPerSecond = 5 })
		w := s.Start(stage.Ports{Broker: s.Broker})
		s.announced(10*time.Second, "the worker", func(all map[string]schema.Announcement) bool { return len(all) == 1 })
		s.endsWithItsConnection(w)
	})
}

// still is a process that stands still, as one that is stopped or whose container is paused, with all that looks at its
// clock.
type still struct {
	mu     sync.Mutex
	resume chan struct{}
}

func (s *still) now() time.Time {
	s.mu.Lock()
	c := s.resume
	s.mu.Unlock()
	if c != nil {
		<-c
	}
	return time.Now()
}

func (s *still) stop() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{})
	s.resume = c
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.resume = nil
		close(c)
	})
}

// A worker that stood still with a delivery in its hands does not poll when it goes on: the broker has long given the
// message to another one.
func TestStoodStillWithADelivery(t *testing.T) {
	t.Parallel()
	clock := &still{}
	s := newStage(t, consumer.Nak, func(c *consumer.Config) {
		c.Now, c.MaxPollsPerSecond = clock.now, 1
		c.RequestTimeout = 500 * time.Millisecond
	})
	ids := make([]string, 6)
	for i := range ids {
		ids[i] = uuid.NewString()
		s.Vendor.Declare(ids[i], simulator.Never())
		s.DeclareAs(schema.Chat, ids[i])
	}
	first := s.Start()
	s.WaitPolls(3)
	s.Until("a delivery to wait for the budget", func() bool { return first.Stats().RateLimitWaiting > 0 })
	before := first.Stats()
	resume := clock.stop()
	t.Cleanup(resume)
	polls := map[string]int{}
	for _, id := range ids {
		polls[id] = s.Vendor.CountOf(id)
	}
	s.Config.Now, s.Config.MaxPollsPerSecond = nil, 0
	s.Start()
	for _, id := range ids { // what is in the first worker's hands comes when its AckWait is over
		s.WaitPollsOf(id, polls[id]+1)
	}
	resume()
	s.Until("the first worker to go on", func() bool {
		now := first.Stats()
		return now.Skipped+now.Polls > before.Skipped+before.Polls
	})
	s.CheckIntervals()
}
