package consumer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"statusworker/cmd/broker/adapter"
	"statusworker/cmd/broker/provisioning"
	"statusworker/consumer"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

func TestByteOrderMarkIsPassedOver(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, simulator.Config{}, nil)
		const mark = "\ufeff"
		good, bad, utf16 := uuid.NewString(), uuid.NewString(), uuid.NewString()
		s.vendor.Declare(good, simulator.Processed(300*time.Millisecond))
		declaration := func(id, typ string) string {
			return fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q}`, id, typ)
		}
		s.publish(schema.DeclaredSubject(schema.Chat, good), mark+declaration(good, "chat"))
		s.publish(schema.DeclaredSubject(schema.Chat, bad), mark+declaration(bad, "fax"))
		s.publish(schema.DeclaredSubject(schema.Chat, utf16), "\xff\xfe{\x00}\x00")
		s.start()
		want := map[string]string{ // the declaration
			schema.ProcessedSubject(schema.ToCXAI, good):       declaration(good, "chat"),
			schema.FailedSubject(schema.InvalidMessage, bad):   declaration(bad, "fax"),
			schema.FailedSubject(schema.InvalidMessage, utf16): "null",
		}
		for _, o := range s.seen.wait(s.ctx, len(want)) {
			if declaration, ok := want[o.Subject]; !ok || string(o.Data.Declaration) != declaration {
				t.Errorf("outcome on %s with the declaration %s, want %q", o.Subject, o.Data.Declaration, declaration)
			}
		}
		s.drained()
	})
}

func TestAnotherCaseIsInvalid(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, simulator.Config{}, nil)
		bare, event := uuid.NewString(), uuid.NewString()
		declaration := func(id string) string {
			return fmt.Sprintf(`{"interactionIdentifier":%q,"type":"audio","includeAIResults":false}`, id)
		}
		s.publish(schema.DeclaredSubject(schema.Audio, bare), declaration(bare))
		s.publish(
			schema.DeclaredSubject(schema.Audio, event),
			`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":`+declaration(event)+`}`,
		)
		s.start()
		got := s.seen.subjects(s.ctx, 2)
		for _, id := range []string{bare, event} {
			if got[schema.FailedSubject(schema.InvalidMessage, id)] != 1 {
				t.Errorf("%s has no dead letter: %v", id, got)
			}
		}
		s.drained()
		if s.vendor.Count() != 0 {
			t.Error("the vendor was asked about an invalid message")
		}
	})
}

func TestTraceContextInAnyCase(t *testing.T) {
	t.Parallel()
	const (
		trace   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		other   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		invalid = "00-00000000000000000000000000000000-b7ad6b7169203331-01"
	)
	type declared struct {
		headers nats.Header
		// extension is a member of a CloudEvent; without one the message is bare.
		extension, value string
	}
	want := map[string]string{} // by subject
	messages := map[string]declared{}
	expect := func(trace string, d declared) {
		id := uuid.NewString()
		messages[id], want[schema.ProcessedSubject(schema.ToCXAI, id)] = d, trace
	}
	for _, name := range []string{"traceparent", "Traceparent", "TRACEPARENT", "ce-traceparent", "Ce-Traceparent"} {
		expect(trace, declared{headers: nats.Header{name: {trace}}})
	}
	for _, name := range []string{"traceparent", "TraceParent"} {
		expect(trace, declared{extension: name, value: trace})
		expect(trace, declared{extension: name, value: trace, headers: nats.Header{"Traceparent": {invalid}}})
		expect(trace, declared{extension: name, value: other, headers: nats.Header{"Traceparent": {trace}}})
	}
	expect(trace, declared{headers: nats.Header{"Traceparent": {other}, "traceparent": {trace}}})
	expect(trace, declared{headers: nats.Header{"Traceparent": {trace}, "traceparent": {invalid}}})
	expect("", declared{headers: nats.Header{"traceparent": {invalid}}})
	expect("", declared{extension: "traceparent", value: invalid})

	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, simulator.Config{}, nil)
		for id, d := range messages {
			s.vendor.Declare(id, simulator.Processed(600*time.Millisecond)) // more than one poll
			m := &nats.Msg{Subject: schema.DeclaredSubject(schema.Chat, id), Header: d.headers}
			m.Data = fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":"chat"}`, id)
			if d.extension != "" {
				m.Data = fmt.Appendf(
					nil,
					`{"specversion":"1.0","id":"1","source":"/s","type":"t",%q:%q,"data":%s}`,
					d.extension,
					d.value,
					m.Data,
				)
			}
			if _, err := s.js.PublishMsg(s.ctx, m); err != nil {
				t.Fatal(err)
			}
		}
		s.start()
		s.seen.wait(s.ctx, len(want))
		stream, err := s.js.Stream(s.ctx, schema.StreamOutcomes)
		if err != nil {
			t.Fatal(err)
		}
		for subject, trace := range want {
			stored, err := stream.GetLastMsgForSubject(s.ctx, subject)
			if err != nil {
				t.Fatalf("%s: %v", subject, err)
			}
			var event struct{ Traceparent string }
			if err := json.Unmarshal(stored.Data, &event); err != nil {
				t.Fatal(err)
			}
			var header []string
			if trace != "" {
				header = []string{trace}
			}
			if got := stored.Header[schema.HeaderTraceparent]; !slices.Equal(got, header) ||
				event.Traceparent != trace {
				_, id, _ := schema.SplitSubject(subject)
				t.Errorf("%+v: header %q, event %q, want %q", messages[id], got, event.Traceparent, trace)
			}
		}
	})
}

// Who publishes with a Nats-Msg-Id of the interaction's own declares it again all the same: a publish that is
// acknowledged begins another life, and has an outcome.
func TestDeclaredAgainWithTheSameMsgID(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode consumer.Mode) {
		s := newStage(t, mode, simulator.Config{}, nil)
		s.start()
		id := uuid.NewString()
		s.types[id] = schema.Chat
		s.vendor.Declare(id, simulator.Failed(schema.StatusProcessingFailed, 0))
		m := &nats.Msg{Subject: schema.DeclaredSubject(schema.Chat, id), Header: nats.Header{nats.MsgIdHdr: {id}},
			Data: fmt.Appendf(nil, `{"interactionIdentifier":%q,"type":"chat"}`, id)}
		for lives := 1; lives <= 3; lives++ {
			s.until("the broker to take the declared message", func() bool {
				ack, err := s.js.PublishMsg(s.ctx, m)
				switch {
				case err == nil && ack.Duplicate:
					t.Fatalf("acknowledged as a duplicate of what has ended, and not stored: life %d", lives)
				case err != nil && !adapter.MaxPerSubject(err):
					t.Fatal(err)
				}
				return err == nil
			})
			if got := s.seen.wait(s.ctx, lives); got[lives-1].Data.Reason != schema.ProcessingFailed {
				t.Fatalf("outcome %d is %+v", lives, got[lives-1])
			}
		}
		s.drained()
		s.polite()
		if got := s.seen.wait(s.ctx, 3); len(got) != 3 {
			t.Errorf("%d outcomes, want 3", len(got))
		}
	})
}

// A declared message and a due one that their consumers count as settled wait for good, and hold up who declares the
// interaction again. Made anew under a worker that runs, the consumers deliver them, and each gets one outcome.
func TestWhatWasPassedOverGetsItsOutcome(t *testing.T) {
	t.Parallel()
	s := newStage(t, consumer.Schedule, simulator.Config{}, nil)
	set := consumer.Topology(s.cfg, consumer.Choices{Mode: consumer.Schedule})
	declared, due := uuid.NewString(), uuid.NewString()
	for id, subject := range map[string]string{declared: schema.DeclaredSubject(schema.Chat, declared), due: schema.PollSubject(schema.Chat, due)} {
		s.types[id] = schema.Chat
		s.vendor.Declare(id, simulator.Processed(0).With(pendingOnce))
		s.publish(subject, fmt.Sprintf(`{"interactionIdentifier":%q,"type":"chat"}`, id))
	}
	for _, at := range []string{schema.StreamDeclared + "." + schema.ConsumerIntake, schema.StreamPolls + "." + schema.PollConsumer(schema.Chat)} {
		if m, err := s.nc.RequestWithContext(
			s.ctx,
			"$JS.API.CONSUMER.RESET."+at,
			[]byte(`{"seq":2}`),
		); err != nil ||
			bytes.Contains(m.Data, []byte(`"error"`)) {
			t.Fatal(m, err)
		}
	}
	s.start()
	another := uuid.NewString() // by its outcome the lanes have gone on
	s.vendor.Declare(another, simulator.Processed(0))
	s.declare(schema.Chat, another)
	if got := s.seen.wait(s.ctx, 1); got[0].Data.Identifier != another {
		t.Fatalf("an outcome of %s, which was passed over", got[0].Data.Identifier)
	}
	report, err := provisioning.Inspect(s.ctx, s.js, set)
	if err != nil || len(report.Undelivered) != 2 {
		t.Fatalf("found %+v, %v, want both", report, err)
	}
	if _, err := provisioning.Redeliver(s.ctx, s.js, set, report.Undelivered); err != nil {
		t.Fatal(err)
	}
	got := s.seen.subjects(s.ctx, 3)
	for _, id := range []string{declared, due} {
		if got[schema.ProcessedSubject(schema.ToCXAI, id)] != 1 {
			t.Errorf("%s has no outcome: %v", id, got)
		}
	}
	s.drained()
	s.polite()
}
