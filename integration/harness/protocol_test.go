package harness

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nats-io/nats.go"
)

const readyWithin = 10 * time.Second

var protocolCases = []struct {
	raw  string
	want Message
}{
	{"INFO {\"max_payload\":1}\r\n", Message{Verb: "INFO", Args: `{"max_payload":1}`}},
	{"ping\r\n", Message{Verb: "PING"}},
	{"PONG\n", Message{Verb: "PONG"}},
	{"+OK\r\n", Message{Verb: "+OK"}},
	{"-ERR 'Stale Connection'\r\n", Message{Verb: "-ERR", Args: "'Stale Connection'"}},
	{"SUB a.* queue 7\r\n", Message{Verb: "SUB", Args: "a.* queue 7"}},
	{"PUB a.b 5\r\nhello\r\n", Message{Verb: "PUB", Subject: "a.b", Payload: []byte("hello")}},
	{"PUB a.b  _INBOX.1\t5\r\nPUB a\r\n", Message{
		Verb: "PUB", Subject: "a.b", Reply: "_INBOX.1", Payload: []byte("PUB a")}},
	{"PUB a.b 0\r\n\r\n", Message{Verb: "PUB", Subject: "a.b", Payload: []byte{}}},
	{"PUB a.b 4\r\n\r\n\r\n\r\n", Message{Verb: "PUB", Subject: "a.b", Payload: []byte("\r\n\r\n")}},
	{"HPUB a.b r 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nhi\r\n", Message{
		Verb: "HPUB", Subject: "a.b", Reply: "r", Header: nats.Header{"K": {"v"}}, Payload: []byte("hi")}},
	{"MSG a.b 12 2\r\nhi\r\n", Message{Verb: "MSG", Subject: "a.b", Payload: []byte("hi")}},
	{"MSG a.b 12 $JS.ACK.x 2\r\nhi\r\n", Message{
		Verb: "MSG", Subject: "a.b", Reply: "$JS.ACK.x", Payload: []byte("hi")}},
	{"HMSG a.b 12 18 18\r\nNATS/1.0\r\nK: v\r\n\r\n\r\n", Message{
		Verb: "HMSG", Subject: "a.b", Header: nats.Header{"K": {"v"}}, Payload: []byte{}}},
	{"HMSG a.b 12 $JS.ACK.x 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nhi\r\n", Message{
		Verb: "HMSG", Subject: "a.b", Reply: "$JS.ACK.x", Header: nats.Header{"K": {"v"}}, Payload: []byte("hi")}},
	{"HMSG _INBOX.1 12 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", Message{
		Verb: "HMSG", Subject: "_INBOX.1", Header: nats.Header{"Status": {"503"}}, Payload: []byte{}}},
}

// TestProtocolChunks reads all messages from one stream that is cut into chunks in several ways.
func TestProtocolChunks(t *testing.T) {
	var all strings.Builder
	for _, c := range protocolCases {
		all.WriteString(c.raw)
	}
	for name, chunked := range map[string]func(io.Reader) io.Reader{
		"one byte": iotest.OneByteReader, "half": iotest.HalfReader, "data and error": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			r := newProtocolReader(chunked(strings.NewReader(all.String())))
			for _, c := range protocolCases {
				got, raw, err := r.next()
				if err != nil {
					t.Fatalf("reading %q: %v", c.raw, err)
				}
				if string(raw) != c.raw {
					t.Errorf("bytes are %q, want %q", raw, c.raw)
				}
				if !reflect.DeepEqual(got, c.want) {
					t.Errorf("%q reads as\n%+v, want\n%+v", c.raw, got, c.want)
				}
			}
			if _, _, err := r.next(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: error %v, want %v", err, io.EOF)
			}
		})
	}
}

// TestProtocolCutShort cuts each message at each position. The error differs from that at the end of the stream.
func TestProtocolCutShort(t *testing.T) {
	for _, c := range protocolCases {
		for cut := 1; cut < len(c.raw); cut++ {
			r := newProtocolReader(strings.NewReader(c.raw[:cut]))
			if _, _, err := r.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q: error %v, want %v", c.raw[:cut], err, io.ErrUnexpectedEOF)
			}
		}
	}
}

func TestProtocolGarbage(t *testing.T) {
	for _, raw := range []string{
		"PUB a\r\n", "PUB a b c 1\r\nx\r\n", "PUB a x\r\n", "PUB a -1\r\n", "PUB a 99999999999\r\n",
		"PUB a 1\r\nxyz\r\n",
		"MSG a 1\r\n", "HPUB a 5 4\r\n1234\r\n", "HPUB a x 4\r\n1234\r\n", "HMSG a 1 4 4\r\n1234\r\n",
		strings.Repeat("x", maxLine+2),
	} {
		r := newProtocolReader(strings.NewReader(raw))
		if m, _, err := r.next(); err == nil {
			t.Errorf("%.40q reads as %+v, want an error", raw, m)
		}
	}
}

// FuzzProtocol checks that the reader returns exactly the bytes that it reads.
func FuzzProtocol(f *testing.F) {
	for _, c := range protocolCases {
		f.Add([]byte(c.raw + c.raw))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newProtocolReader(iotest.HalfReader(bytes.NewReader(data)))
		var out []byte
		for {
			_, raw, err := r.next()
			if errors.Is(err, io.EOF) {
				if !bytes.Equal(out, data) {
					t.Errorf("read %q, want %q", out, data)
				}
				return
			}
			if err != nil {
				return
			}
			out = append(out, raw...)
			if !bytes.HasPrefix(data, out) {
				t.Fatalf("read %q of %q", out, data)
			}
		}
	})
}

// TestMessageKinds classifies the messages of a poll.
func TestMessageKinds(t *testing.T) {
	const id = "bd5c92f3-c228-44a6-91bf-b52672569878"
	tombstone := nats.Header{"Statusworker-Tombstone": {"1"}}
	stored, refused := []byte(`{"stream":"S","seq":4}`), []byte(`{"stream":"S","seq":0,"error":{"err_code":10071}}`)
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
			if a.is(*ack(of, refused)) {
				t.Errorf("%s of a rejected %s is true, want false", a.name, of.Subject)
			}
		}
	}
}
