package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"statusworker/schema"
)

// Message is one message of the NATS client protocol, as it passes the [Proxy].
type Message struct {
	// Conn numbers the connections through the proxy, from 1.
	Conn int
	// Verb is what the message begins with, in upper case: PUB, HPUB, SUB, CONNECT, PING from a client; MSG, HMSG,
	// INFO, PONG, +OK, -ERR from a server.
	Verb string
	// Args is the rest of the line of a message without a payload: the JSON of INFO, for one.
	Args string
	// Subject, Reply, Header and Payload are those of PUB, HPUB, MSG and HMSG. What a pull consumer delivers comes with
	// the subject on which it was stored; its reply subject begins with $JS.ACK.
	Subject string
	Reply   string
	Header  nats.Header
	Payload []byte
	// Request is, on a server's first answer, what the client had published on this connection with Subject as its
	// reply subject: it tells which publish a publish ack is for. Nil on all other messages. Never set on what a
	// pull request delivers.
	Request *Message
}

// Identifier is the last token of the subject, which names the interaction.
func (m Message) Identifier() string {
	return m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
}

// Stored tells whether m is the broker's word that m.Request is stored.
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

// Due tells whether m delivers a due message.
func (m Message) Due() bool {
	return m.fromServer() && matches(m.Subject, schema.SubjectsPoll) && strings.HasPrefix(m.Reply, "$JS.ACK.")
}

// Reserves tells whether m publishes a reservation that is no tombstone: the next poll, or a longer wait for it.
func (m Message) Reserves() bool {
	return m.fromClient() && matches(m.Subject, schema.SubjectsHold) && !m.hasHeader(schema.HeaderTombstone)
}

// Buries tells whether m publishes a tombstone.
func (m Message) Buries() bool {
	return m.fromClient() && matches(m.Subject, schema.SubjectsHold) && m.hasHeader(schema.HeaderTombstone)
}

// Concludes tells whether m publishes an outcome: a processed event or a dead letter.
func (m Message) Concludes() bool {
	return m.fromClient() && (matches(m.Subject, schema.SubjectsProcessed) || matches(m.Subject, schema.SubjectsFailed))
}

// ReservationStored tells whether m is the publish ack of a reservation.
func (m Message) ReservationStored() bool { return m.Stored() && m.Request.Reserves() }

// TombstoneStored tells whether m is the publish ack of a tombstone.
func (m Message) TombstoneStored() bool { return m.Stored() && m.Request.Buries() }

// OutcomeStored tells whether m is the publish ack of an outcome.
func (m Message) OutcomeStored() bool { return m.Stored() && m.Request.Concludes() }

func (m Message) fromClient() bool { return m.Verb == "PUB" || m.Verb == "HPUB" }
func (m Message) fromServer() bool { return m.Verb == "MSG" || m.Verb == "HMSG" }

func (m Message) hasHeader(name string) bool { return len(m.Header[name]) > 0 }

// matches tells whether a subject matches a pattern with `*` tokens.
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

// Bounds on what the proxy holds of one message. They are beyond what any server accepts by default.
const (
	maxLine    = 1 << 20
	maxPayload = 64 << 20
)

// protocolReader takes a byte stream of the NATS client protocol apart into messages, whatever its chunks.
type protocolReader struct{ r *bufio.Reader }

func newProtocolReader(r io.Reader) *protocolReader {
	return &protocolReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next message and its bytes as they came; they belong to the caller. It returns io.EOF only between
// two messages, and io.ErrUnexpectedEOF inside of one.
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
			"%s on %q: the payload of %d bytes ends with %q, want CR LF",
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
				"a line is longer than %d bytes: is TLS in use? The proxy understands plain NATS only",
				maxLine,
			)
		case err == bufio.ErrBufferFull:
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
	fixed, reply := 2, 1 // subject and size; where a reply subject stands
	if sid {
		fixed++
		reply++
	}
	if headed {
		fixed++
	}
	if len(f) != fixed && len(f) != fixed+1 {
		return 0, 0, fmt.Errorf("%s has %d arguments, want %d or %d: %.200q", m.Verb, len(f), fixed, fixed+1, args)
	}
	m.Subject = f[0]
	if len(f) == fixed+1 {
		m.Reply = f[reply]
	}
	size, err = strconv.Atoi(f[len(f)-1])
	if err != nil || size < 0 || size > maxPayload {
		return 0, 0, fmt.Errorf("%s on %q has size %q, want 0 to %d", m.Verb, m.Subject, f[len(f)-1], maxPayload)
	}
	if headed {
		head, err = strconv.Atoi(f[len(f)-2])
		if err != nil || head < 0 || head > size {
			return 0, 0, fmt.Errorf(
				"%s on %q has a header of size %q, want 0 to %d",
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
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// withoutConnectURLs gives an INFO line without the other addresses of the broker: a client that learned them would
// go around the proxy at its next reconnect.
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
