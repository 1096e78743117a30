// Package protocol reads the NATS client protocol. It imports the standard library only, so that its fuzz test builds
// fast.
package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Message is one message of the protocol.
type Message struct {
	// Verb is the name of the operation, in upper case: PUB, HPUB, SUB, CONNECT or PING from a client; MSG, HMSG, INFO,
	// PONG, +OK or -ERR from a server.
	Verb string
	// Args is the rest of the line of a message without a payload, for example the JSON of INFO.
	Args string
	// Subject, Reply and Payload are set for PUB, HPUB, MSG and HMSG. A message that a pull consumer delivers has the
	// subject on which it was stored, and a reply subject that begins with $JS.ACK.
	Subject string
	Reply   string
	Payload []byte
	// Header is set for HPUB and HMSG, and not decoded.
	Header []byte
}

// Limits on the size of one message. They exceed the default limits of nats-server.
const (
	maxLine    = 1 << 20
	maxPayload = 64 << 20
)

// Reader splits a byte stream into messages, however it is cut into chunks.
type Reader struct{ r *bufio.Reader }

// NewReader returns a reader of a byte stream.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next message and its unchanged bytes, which the caller may keep. At the end of the stream it returns
// io.EOF between two messages, and io.ErrUnexpectedEOF inside a message.
func (p *Reader) Next() (Message, []byte, error) {
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
		m.Header = data[:head]
	}
	return m, all, nil
}

// line reads up to a line feed.
func (p *Reader) line() ([]byte, error) {
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
