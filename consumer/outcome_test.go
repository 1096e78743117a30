package consumer_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"statusworker/consumer"
	"statusworker/integration/stage"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

func TestEveryTypeReachesItsSubjects(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := onServer(t, mode, nil)
		var want []string
		for _, typ := range schema.Types() {
			for n := range len(schema.Flags()) + 1 {
				var members []string
				if n > 0 {
					f := schema.Flags()[n-1]
					members = append(members, fmt.Sprintf("%q:%t", f, !f.Default()))
				}
				// Three seconds are several polls, in both modes.
				id := s.Declare(typ, simulator.Processed(3*time.Second).With(stage.PendingOnce), members...)
				d, err := schema.Decode(stage.Declaration(typ, id, members...))
				s.Check(err)
				for _, to := range d.Destinations() {
					want = append(want, ns.ProcessedSubject(to, id))
				}
			}
		}
		s.Start()
		s.WantOutcomes(want...)
		s.WaitDrained()
		s.CheckIntervals()
		s.WantOutcomes(want...)
	})
}

func TestEveryFailureHasItsReason(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) {
			c.NotFoundGrace, c.Deadline = time.Second, 4*time.Second
			c.FailedStatuses = []schema.Status{"transcriptionFailed"}
		})
		want := map[string]schema.Reason{} // by subject
		expect := func(r schema.Reason, id string) { want[ns.FailedSubject(r, id)] = r }
		for _, status := range schema.Statuses() {
			if status.Meaning() == schema.Failed {
				expect(status.Reason(), s.Declare(schema.Chat, simulator.Failed(status, 300*time.Millisecond)))
			}
		}
		unknown := uuid.NewString()
		s.DeclareAs(schema.Chat, unknown)
		expect(schema.NotFound, unknown)
		expect(schema.VendorFailed, s.Declare(schema.Chat, simulator.Constant("transcriptionFailed")))
		rejected := simulator.Never().With(simulator.Refusal(http.StatusBadRequest))
		expect(schema.Rejected, s.Declare(schema.Chat, rejected))
		expect(schema.DeadlineExceeded, s.Declare(schema.Chat, simulator.Never()))
		for _, invalid := range []struct{ token, message string }{
			{uuid.NewString(), `{"type":`},
			{uuid.NewString(), string(stage.Declaration(schema.Chat, uuid.NewString()))},
			{uuid.NewString(), strings.Repeat(" ", 100<<10)},
			{"nothing", `{"interactionIdentifier":"../../x","type":"chat"}`},
		} {
			s.Publish(ns.DeclaredSubject(schema.Chat, invalid.token), invalid.message)
			expect(schema.InvalidMessage, invalid.token)
		}
		s.Start()
		found := map[schema.Reason]bool{}
		for _, o := range s.WaitOutcomes(len(want)) {
			if reason := want[o.Subject]; reason == "" || o.Data.Reason != reason || o.Data.Detail == "" {
				t.Errorf("outcome on %s, reason %q, detail %q, want reason %q", o.Subject, o.Data.Reason, o.Data.Detail,
					reason)
			}
			found[o.Data.Reason] = true
		}
		for _, r := range schema.Reasons() {
			if !found[r] && r != schema.InternalError { // only a bug causes one
				t.Errorf("nothing failed as %s", r)
			}
		}
		s.WaitDrained()
		s.CheckIntervals()
		if got := s.Outcomes(); len(got) != len(want) {
			t.Errorf("%d outcomes, want %d", len(got), len(want))
		}
	})
}

func TestInvalidSubjects(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := onServer(t, mode, nil)
		id := uuid.NewString()
		subjects := []string{"interactions.declared.chat.*", ns.DeclaredSubject(schema.Chat, strings.ToUpper(id))}
		if mode == consumer.Schedule {
			// With naks the broker rejects the second, and keeps the first without ever delivering it.
			subjects = append(subjects, "interactions.declared.chat.>", "interactions.declared.video."+id)
		}
		var want []string
		for i, subject := range subjects {
			s.Publish(subject, string(stage.Declaration(schema.Chat, id)))
			token := ns.DeadLetterToken(subject, uint64(i+1))
			want = append(want, ns.FailedSubject(schema.InvalidMessage, token))
		}
		s.Start()
		s.WantOutcomes(want...)
		s.WaitDrained()
		if s.Vendor.Count() != 0 {
			t.Error("the vendor was asked about an invalid message")
		}
	})
}

func TestCorrectedMessageIsProcessed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := inMemory(t, consumer.Schedule, nil)
		s.Start()
		id := uuid.NewString()
		s.Vendor.Declare(id, simulator.Processed(0))
		s.Publish(ns.DeclaredSubject(schema.Chat, id), `{"interactionIdentifier":"`+id+`"}`)
		s.WantOutcomes(ns.FailedSubject(schema.InvalidMessage, id))
		s.declareUntilAccepted(schema.Chat, id)
		s.WantOutcomes(ns.FailedSubject(schema.InvalidMessage, id), ns.ProcessedSubject(schema.ToCXAI, id))
	})
}

// The outcomes have the vendor's documented answer and the declared message as they were received.
func TestDocumentedAnswerVerbatim(t *testing.T) {
	t.Parallel()
	sample, err := os.ReadFile("testdata/status-processed.json")
	if err != nil {
		t.Fatal(err)
	}
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, nil)
		s.Start(stage.Ports{Client: s.ServeVendor(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, _ = w.Write(sample)
		}))})
		const id = "bd5c92f3-c228-44a6-91bf-b52672569878"
		declaration := `{"type":"audio","interactionIdentifier":"` + id +
			`","z":[1.50,1e3,12345678901234567890],"a":"<&>\u00e9"}`
		s.Publish(ns.DeclaredSubject(schema.Audio, id), declaration)
		s.wantProcessed(id)
		for _, o := range s.Outcomes() {
			if string(o.Data.Declaration) != declaration {
				t.Errorf("declaration %s, want %s", o.Data.Declaration, declaration)
			}
			var got, want any
			if json.Unmarshal(o.Data.Answer, &got) != nil || json.Unmarshal(sample, &want) != nil ||
				!reflect.DeepEqual(got, want) {
				t.Errorf("answer %s, want %s", o.Data.Answer, sample)
			}
		}
	})
}

// An answer that is not valid JSON is published in base64, and the interaction ends.
func TestAnswersThatAreNotJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		members string
		payload bool // the answer is in base64
	}{
		"JSON":           {`"errorMessage":{"code":"E1"}`, false},
		"lone surrogate": {`"originalFilename":"\ud83d"`, false},
		"invalid UTF-8":  {`"originalFilename":"` + "\xe4" + `"`, true},
		"NaN":            {`"score":NaN`, true},
	} {
		for _, end := range []schema.Status{schema.StatusProcessed, schema.StatusProcessingFailed} {
			t.Run(fmt.Sprint(name, " ", end), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := inMemory(t, consumer.Schedule, nil)
					odd := simulator.Fault{Kind: simulator.Odd, Prefix: simulator.ByteOrderMark, Members: c.members}
					id := s.Declare(schema.Chat, simulator.Constant(end).With(odd))
					subject := ns.ProcessedSubject(schema.ToCXAI, id)
					if end != schema.StatusProcessed {
						subject = ns.FailedSubject(schema.ProcessingFailed, id)
					}
					s.Start()
					got := s.WantOutcomes(subject)[0]
					answer := string(got.Data.Answer)
					if answer == "null" {
						answer = string(got.Data.AnswerPayload)
					}
					if !strings.Contains(answer, c.members) || len(got.Data.AnswerPayload) > 0 != c.payload {
						t.Errorf("answer %s, payload %q", got.Data.Answer, got.Data.AnswerPayload)
					}
					s.WaitDrained()
				})
			})
		}
	}
}

// Statuses that the operator configures as failed end an interaction; other unknown statuses do not.
func TestFailedStatuses(t *testing.T) {
	t.Parallel()
	bubbles(t, func(t *testing.T, mode consumer.Mode) {
		s := inMemory(t, mode, func(c *consumer.Config) {
			c.FailedStatuses = []schema.Status{"transcriptionFailed", "quotaExceeded"}
			c.Deadline = 4 * time.Second
		})
		want := map[string]schema.Status{} // by subject
		for status, reason := range map[schema.Status]schema.Reason{
			"transcriptionFailed": schema.VendorFailed, "quotaExceeded": schema.VendorFailed,
			"translationFailed": schema.DeadlineExceeded,
		} {
			id := s.Declare(schema.Chat, simulator.Constant(status))
			want[ns.FailedSubject(reason, id)] = status
		}
		w := s.Start()
		for _, o := range s.WaitOutcomes(len(want)) {
			status := want[o.Subject]
			if o.Data.Reason == schema.VendorFailed && !strings.Contains(o.Data.Detail, string(status)) {
				t.Errorf("%s: detail %q does not name the status %s", o.Subject, o.Data.Detail, status)
			}
			delete(want, o.Subject)
		}
		if len(want) > 0 {
			t.Errorf("no outcomes on %v", want)
		}
		if w.Stats().UnknownStatus == 0 {
			t.Error("the status that is not configured was not counted")
		}
		s.WaitDrained()
	})
}
