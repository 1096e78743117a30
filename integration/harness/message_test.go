package harness

import (
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/integration/harness/protocol"
)

const readyWithin = 10 * time.Second

// A header is decoded; a message without a header has none.
func TestMessageHeaders(t *testing.T) {
	for _, c := range []struct {
		header string
		want   nats.Header
	}{
		{"NATS/1.0\r\nK: v\r\n\r\n", nats.Header{"K": {"v"}}},
		{"NATS/1.0 503\r\n\r\n", nats.Header{"Status": {"503"}}},
	} {
		got, err := messageOf(protocol.Message{Verb: "HMSG", Subject: "a.b", Header: []byte(c.header)})
		want := Message{Verb: "HMSG", Subject: "a.b", Header: c.want}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q decodes to %+v (%v), want %+v", c.header, got, err, want)
		}
	}
	m := protocol.Message{Verb: "MSG", Subject: "a.b", Reply: "r", Payload: []byte("p")}
	want := Message{Verb: "MSG", Subject: "a.b", Reply: "r", Payload: []byte("p")}
	if got, err := messageOf(m); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v becomes %+v (%v), want %+v", m, got, err, want)
	}
	if _, err := messageOf(protocol.Message{Verb: "HMSG", Header: []byte("HTTP/1.1\r\n\r\n")}); err == nil {
		t.Error("a header of another protocol is decoded, want an error")
	}
}

// TestMessageKinds classifies the messages of a poll.
func TestMessageKinds(t *testing.T) {
	const id = "bd5c92f3-c228-44a6-91bf-b52672569878"
	tombstone := nats.Header{"Statusworker-Tombstone": {"1"}}
	stored, rejected := []byte(`{"stream":"S","seq":4}`), []byte(`{"stream":"S","seq":0,"error":{"err_code":10071}}`)
	reserves := &Message{Verb: "HPUB", Subject: "interactions.hold.audio." + id, Reply: "_INBOX.1"}
	storesTombstone := &Message{Verb: "HPUB", Subject: "interactions.hold.audio." + id, Header: tombstone}
	processed := &Message{Verb: "HPUB", Subject: "interactions.processed.cxai." + id}
	failed := &Message{Verb: "HPUB", Subject: "interactions.failed.not_found." + id}
	due := &Message{Verb: "HMSG", Subject: "interactions.poll.audio." + id,
		Reply: "$JS.ACK.INTERACTIONS_POLLS.poll-audio.1.2.3.4.5"}
	ack := func(of *Message, payload []byte) *Message {
		return &Message{Verb: "MSG", Subject: "_INBOX.1", Payload: payload, Request: of}
	}
	predicates := []struct {
		name string
		is   func(Message) bool
		yes  []*Message
	}{
		{"Due", Message.Due, []*Message{due}},
		{"PublishesReservation", Message.PublishesReservation, []*Message{reserves}},
		{"PublishesTombstone", Message.PublishesTombstone, []*Message{storesTombstone}},
		{"PublishesOutcome", Message.PublishesOutcome, []*Message{processed, failed}},
	}
	all := []*Message{reserves, storesTombstone, processed, failed, due}
	for _, p := range predicates {
		for _, m := range all {
			want := false
			for _, y := range p.yes {
				want = want || y == m
			}
			if got := p.is(*m); got != want {
				t.Errorf("%s of %s %s %v is %t, want %t", p.name, m.Verb, m.Subject, m.Header, got, want)
			}
			if m.Identifier() != id {
				t.Errorf("identifier of %s is %q", m.Subject, m.Identifier())
			}
		}
	}
	for _, a := range []struct {
		name string
		is   func(Message) bool
		of   *Message
	}{
		{"ReservationStored", Message.ReservationStored, reserves},
		{"TombstoneStored", Message.TombstoneStored, storesTombstone},
		{"OutcomeStored", Message.OutcomeStored, processed},
	} {
		for _, of := range []*Message{reserves, storesTombstone, processed} {
			if got := a.is(*ack(of, stored)); got != (of == a.of) {
				t.Errorf("%s of the ack of %s %v is %t, want %t", a.name, of.Subject, of.Header, got, !got)
			}
			if a.is(*ack(of, rejected)) {
				t.Errorf("%s of a rejected %s is true, want false", a.name, of.Subject)
			}
		}
	}
}
