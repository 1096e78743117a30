package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"statusworker/schema"
)

// Message is one message of the NATS client protocol that passes the [Proxy].
type Message struct {
	// Conn numbers the connections through the proxy, from 1.
	Conn int
	// Verb is the name of the operation, in upper case: PUB, HPUB, SUB, CONNECT or PING from a client; MSG, HMSG, INFO,
	// PONG, +OK or -ERR from a server.
	Verb string
	// Args is the rest of the line of a message without a payload, for example the JSON of INFO.
	Args string
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
	return m.fromServer() && matches(m.Subject, schema.SubjectsPoll) && strings.HasPrefix(m.Reply, "$JS.ACK.")
}

// PublishesReservation reports whether m publishes a reservation, for the next poll or for a longer wait. A tombstone
// is not a reservation.
func (m Message) PublishesReservation() bool {
	return m.fromClient() && matches(m.Subject, schema.SubjectsHold) && !m.hasHeader(schema.HeaderTombstone)
}

// PublishesTombstone reports whether m publishes a tombstone.
func (m Message) PublishesTombstone() bool {
	return m.fromClient() && matches(m.Subject, schema.SubjectsHold) && m.hasHeader(schema.HeaderTombstone)
}

// PublishesOutcome reports whether m publishes an outcome: a processed event or a dead letter.
func (m Message) PublishesOutcome() bool {
	return m.fromClient() && (matches(m.Subject, schema.SubjectsProcessed) || matches(m.Subject, schema.SubjectsFailed))
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

// Limits on the size of one message. They exceed the default limits of nats-server.
const (
	maxLine    = 1 << 20
	maxPayload = 64 << 20
)

// protocolReader splits a byte stream of the NATS client protocol into messages, however it is cut into chunks.
type protocolReader struct{ r *bufio.Reader }

func newProtocolReader(r io.Reader) *protocolReader {
	return &protocolReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next message and its unchanged bytes, which the caller may keep. At the end of the stream it returns
// io.EOF between two messages, and io.ErrUnexpectedEOF inside a message.
func (p *protocolReader) next() (Message, []byte, error) {
	raw, err := p.line()
	if err != nil {
		return Message{}, nil, err
	}
	verb, args, _ := strings.Cut(strings.TrimRight(string(raw), "\r\n"), " ")
	m := Message{Verb: strings.ToUpper(verb), Args: args}
	var headed, sid bool
	switch m.Verb {
	case "PUB":
	case "HPUB":
		headed = true
	case "MSG":
		sid = true
	case "HMSG":
		headed, sid = true, true
	default:
		return m, raw, nil
	}

	m.Args = ""
	head, size, err := m.control(args, headed, sid)
	if err != nil {
		return Message{}, nil, err
	}
	body := bytes.NewBuffer(raw)
	if _, err := io.CopyN(body, p.r, int64(size)+2); err != nil {
		return Message{}, nil, unexpected(err)
	}
	all := body.Bytes()
	data := all[len(raw) : len(all)-2 : len(all)-2]
	if end := all[len(all)-2:]; string(end) != "\r\n" {
		return Message{}, nil, fmt.Errorf(
			"%s on %q: payload of %d bytes is followed by %q; must be CR LF",
			m.Verb,
			m.Subject,
			size,
			end,
		)
	}
	m.Payload = data[head:]
	if headed {
		if m.Header, err = nats.DecodeHeadersMsg(data[:head]); err != nil {
			return Message{}, nil, fmt.Errorf("%s on %q: decoding its header: %w", m.Verb, m.Subject, err)
		}
	}
	return m, all, nil
}

// line reads up to a line feed.
func (p *protocolReader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := p.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case len(line) > maxLine:
			return nil, fmt.Errorf(
				"line exceeds %d bytes; the proxy does not support TLS: connect without it",
				maxLine,
			)
		case errors.Is(err, bufio.ErrBufferFull):
		case len(line) > 0:
			return nil, unexpected(err)
		default:
			return nil, err
		}
	}
}

// control reads the arguments of a message with a payload: subject, subscription, reply subject, sizes.
func (m *Message) control(args string, headed, sid bool) (head, size int, err error) {
	f := strings.Fields(args)
	fixed, reply := 2, 1 // subject and size; the position of a reply subject
	if sid {
		fixed++
		reply++
	}
	if headed {
		fixed++
	}
	if len(f) != fixed && len(f) != fixed+1 {
		return 0, 0, fmt.Errorf("%s has %d arguments; must be %d or %d: %.200q", m.Verb, len(f), fixed, fixed+1, args)
	}
	m.Subject = f[0]
	if len(f) == fixed+1 {
		m.Reply = f[reply]
	}
	size, err = strconv.Atoi(f[len(f)-1])
	if err != nil || size < 0 || size > maxPayload {
		return 0, 0, fmt.Errorf("%s on %q has size %q; allowed: 0 to %d", m.Verb, m.Subject, f[len(f)-1], maxPayload)
	}
	if headed {
		head, err = strconv.Atoi(f[len(f)-2])
		if err != nil || head < 0 || head > size {
			return 0, 0, fmt.Errorf(
				"%s on %q has a header of size %q; allowed: 0 to %d",
				m.Verb,
				m.Subject,
				f[len(f)-2],
				size,
			)
		}
	}
	return head, size, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
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
