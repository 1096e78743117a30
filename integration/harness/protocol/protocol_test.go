package protocol

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

const keyHeader = "NATS/1.0\r\nK: v\r\n\r\n"

var cases = []struct {
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
		Verb: "HPUB", Subject: "a.b", Reply: "r", Header: []byte(keyHeader), Payload: []byte("hi")}},
	{"MSG a.b 12 2\r\nhi\r\n", Message{Verb: "MSG", Subject: "a.b", Payload: []byte("hi")}},
	{"MSG a.b 12 $JS.ACK.x 2\r\nhi\r\n", Message{
		Verb: "MSG", Subject: "a.b", Reply: "$JS.ACK.x", Payload: []byte("hi")}},
	{"HMSG a.b 12 18 18\r\nNATS/1.0\r\nK: v\r\n\r\n\r\n", Message{
		Verb: "HMSG", Subject: "a.b", Header: []byte(keyHeader), Payload: []byte{}}},
	{"HMSG a.b 12 $JS.ACK.x 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nhi\r\n", Message{
		Verb: "HMSG", Subject: "a.b", Reply: "$JS.ACK.x", Header: []byte(keyHeader), Payload: []byte("hi")}},
	{"HMSG _INBOX.1 12 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", Message{
		Verb: "HMSG", Subject: "_INBOX.1", Header: []byte("NATS/1.0 503\r\n\r\n"), Payload: []byte{}}},
}

// TestChunks reads all messages from one stream that is cut into chunks in several ways.
func TestChunks(t *testing.T) {
	var all strings.Builder
	for _, c := range cases {
		all.WriteString(c.raw)
	}
	for name, chunked := range map[string]func(io.Reader) io.Reader{
		"one byte": iotest.OneByteReader, "half": iotest.HalfReader, "data and error": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(chunked(strings.NewReader(all.String())))
			for _, c := range cases {
				got, raw, err := r.Next()
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
			if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: error %v, want %v", err, io.EOF)
			}
		})
	}
}

// TestCutShort cuts each message at each position. The error differs from that at the end of the stream.
func TestCutShort(t *testing.T) {
	for _, c := range cases {
		for cut := 1; cut < len(c.raw); cut++ {
			r := NewReader(strings.NewReader(c.raw[:cut]))
			if _, _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q: error %v, want %v", c.raw[:cut], err, io.ErrUnexpectedEOF)
			}
		}
	}
}

func TestGarbage(t *testing.T) {
	for _, raw := range []string{
		"PUB a\r\n", "PUB a b c 1\r\nx\r\n", "PUB a x\r\n", "PUB a -1\r\n", "PUB a 99999999999\r\n",
		"PUB a 1\r\nxyz\r\n",
		"MSG a 1\r\n", "HPUB a 5 4\r\n1234\r\n", "HPUB a x 4\r\n1234\r\n",
		strings.Repeat("x", maxLine+2),
	} {
		r := NewReader(strings.NewReader(raw))
		if m, _, err := r.Next(); err == nil {
			t.Errorf("%.40q reads as %+v, want an error", raw, m)
		}
	}
}

// FuzzReader checks that the reader returns exactly the bytes that it reads.
func FuzzReader(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.raw + c.raw))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(iotest.HalfReader(bytes.NewReader(data)))
		var out []byte
		for {
			_, raw, err := r.Next()
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
