package harness

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"statusworker/integration/harness/protocol"
	"statusworker/schema"
)

// Message is one message of the NATS client protocol that passes the [Proxy].
type Message struct {
	// Conn numbers the connections through the proxy, from 1.
	Conn int
	// Verb is the name of the operation, in upper case: PUB, HPUB, SUB, CONNECT or PING from a client; MSG, HMSG, INFO,
	// PONG, +OK or -ERR from a server.
	Verb string
	// Subject, Reply, Header and Payload are set for PUB, HPUB, MSG and HMSG. A message that a pull consumer delivers
	// has the subject on which it was stored, and a reply subject that begins with $JS.ACK.
	Subject string
	Reply   string
	Header  nats.Header
	Payload []byte
	// Request is set on a server's first response to a request: the message that the client published on this
	// connection with Subject as its reply subject. For a publish ack, it is the message that was published. It is nil
	// for all other messages, also for those that a pull request delivers.
	Request *Message
}

// messageOf returns a message with its decoded header.
func messageOf(m protocol.Message) (Message, error) {
	d := Message{Verb: m.Verb, Subject: m.Subject, Reply: m.Reply, Payload: m.Payload}
	if m.Header == nil {
		return d, nil
	}
	var err error
	if d.Header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
		return Message{}, fmt.Errorf("%s on %q: decoding its header: %w", m.Verb, m.Subject, err)
	}
	return d, nil
}

// Identifier returns the last token of the subject, which is the identifier of the interaction.
func (m Message) Identifier() string {
	return m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
}

// Stored reports whether m is the publish ack that confirms that m.Request is stored.
func (m Message) Stored() bool {
	if m.Request == nil {
		return false
	}
	var ack struct {
		Stream string          `json:"stream"`
		Seq    uint64          `json:"seq"`
		Error  json.RawMessage `json:"error"`
	}
	return json.Unmarshal(m.Payload, &ack) == nil && ack.Stream != "" && ack.Seq > 0 && ack.Error == nil
}

// Due reports whether m delivers a due message.
func (m Message) Due() bool {
	return m.fromServer() && matches(m.Subject, ns.SubjectsPoll()) && strings.HasPrefix(m.Reply, "$JS.ACK.")
}

// PublishesReservation reports whether m publishes a reservation, for the next poll or for a longer wait. A tombstone
// is not a reservation.
func (m Message) PublishesReservation() bool {
	return m.fromClient() && matches(m.Subject, ns.SubjectsHold()) && !m.hasHeader(schema.HeaderTombstone)
}

// PublishesTombstone reports whether m publishes a tombstone.
func (m Message) PublishesTombstone() bool {
	return m.fromClient() && matches(m.Subject, ns.SubjectsHold()) && m.hasHeader(schema.HeaderTombstone)
}

// PublishesOutcome reports whether m publishes an outcome: a processed event or a dead letter.
func (m Message) PublishesOutcome() bool {
	return m.fromClient() && (matches(m.Subject, ns.SubjectsProcessed()) || matches(m.Subject, ns.SubjectsFailed()))
}

// ReservationStored reports whether m is the publish ack of a reservation.
func (m Message) ReservationStored() bool { return m.Stored() && m.Request.PublishesReservation() }

// TombstoneStored reports whether m is the publish ack of a tombstone.
func (m Message) TombstoneStored() bool { return m.Stored() && m.Request.PublishesTombstone() }

// OutcomeStored reports whether m is the publish ack of an outcome.
func (m Message) OutcomeStored() bool { return m.Stored() && m.Request.PublishesOutcome() }

func (m Message) fromClient() bool { return m.Verb == "PUB" || m.Verb == "HPUB" }
func (m Message) fromServer() bool { return m.Verb == "MSG" || m.Verb == "HMSG" }

func (m Message) hasHeader(name string) bool { return len(m.Header[name]) > 0 }

// matches reports whether a subject matches a pattern with `*` tokens.
func matches(subject, pattern string) bool {
	s, p := strings.Split(subject, "."), strings.Split(pattern, ".")
	if len(s) != len(p) {
		return false
	}
	for i := range p {
		if p[i] != "*" && p[i] != s[i] {
			return false
		}
	}
	return true
}

// withoutConnectURLs returns an INFO line without the other addresses of the broker. A client that knows them would
// bypass the proxy when it reconnects.
func withoutConnectURLs(args string) ([]byte, error) {
	var info map[string]json.RawMessage
	if err := json.Unmarshal([]byte(args), &info); err != nil {
		return nil, fmt.Errorf("decoding INFO: %w", err)
	}
	delete(info, "connect_urls")
	delete(info, "ws_connect_urls")
	b, err := json.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("encoding INFO: %w", err)
	}
	return fmt.Appendf(nil, "INFO %s\r\n", b), nil
}
