// Package source reads the messages that a producer declares. It does not use NATS.
package source

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"statusworker/schema"
)

// Candidate is a message to declare, or the reason why it cannot be declared.
type Candidate struct {
	// Where is its place in the input, such as "line 17".
	Where   string
	Message []byte
	Problem error
	// Size is its length in the input, in bytes.
	Size int
}

// Source reads candidates. Send returns nil after the last one, and otherwise the error of ctx or of a read.
type Source interface {
	Send(ctx context.Context, to chan<- Candidate) error
}

// Arguments is a [Source] of identifiers from a command line.
type Arguments struct {
	IDs  []string
	Type string
	// IncludeAIResults is a member of each message, unless it is nil.
	IncludeAIResults *bool
	more             []byte // the other members
}

// NoInteraction is an identifier that no interaction has.
const NoInteraction = "00000000-0000-0000-0000-000000000000"

// Add adds the members of a JSON object to each message. It returns an error if a message with them is invalid.
func (a *Arguments) Add(object []byte) error {
	if len(object) > schema.MaxDeclaredBytes {
		return fmt.Errorf("it is larger than %d bytes", schema.MaxDeclaredBytes)
	}
	object = bytes.TrimSpace(schema.TrimBOM(object))
	if err := schema.CheckJSON(object); err != nil {
		return err
	}
	if object[0] != '{' {
		return errors.New("it is not an object")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return err
	}
	for _, name := range []string{"interactionIdentifier", "type"} {
		if _, ok := members[name]; ok {
			return fmt.Errorf("it has the member %s, which the command line sets", name)
		}
	}
	if _, ok := members["includeAiResults"]; ok && a.IncludeAIResults != nil {
		return errors.New("it has the member includeAiResults, which --include-ai-results sets")
	}
	a.more = bytes.TrimSpace(object[1 : len(object)-1])
	// Members that are invalid in one message are invalid in all.
	_, err := schema.Decode(a.message(NoInteraction))
	return err
}

// Send implements [Source].
func (a Arguments) Send(ctx context.Context, to chan<- Candidate) error {
	for _, id := range a.IDs {
		select {
		case to <- Candidate{Where: "identifier " + schema.Quote(id), Message: a.message(id)}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (a Arguments) message(id string) []byte {
	var b bytes.Buffer
	b.WriteString(`{"interactionIdentifier":`)
	b.Write(quoted(strings.ToLower(id)))
	b.WriteString(`,"type":`)
	b.Write(quoted(a.Type))
	if a.IncludeAIResults != nil {
		fmt.Fprintf(&b, `,"includeAiResults":%t`, *a.IncludeAIResults)
	}
	if len(a.more) > 0 {
		b.WriteByte(',')
		b.Write(a.more)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // every string can be encoded
	}
	return b
}

// Lines returns a [Source] that reads one declared message per line. It skips empty lines, and removes a byte order
// mark before any line: the input may be a concatenation of files.
func Lines(from io.Reader) Source { return lines{from} }

type lines struct{ from io.Reader }

const byteOrderMark = 3

var errLineTooLong = fmt.Errorf("it is longer than %d bytes", schema.MaxDeclaredBytes)

func (l lines) Send(ctx context.Context, to chan<- Candidate) error {
	r := bufio.NewReaderSize(l.from, byteOrderMark+schema.MaxDeclaredBytes+2) // with \r\n
	for number := 1; ; number++ {
		line, err := r.ReadSlice('\n')
		if encoding := schema.ForeignEncoding(line); number == 1 && encoding != "" {
			// One error, instead of one for each line.
			return fmt.Errorf("standard input is %s: must be UTF-8; convert it, such as with `iconv -f %[1]s -t UTF-8`",
				encoding)
		}
		c := Candidate{Where: fmt.Sprintf("line %d", number), Size: len(line)}
		if errors.Is(err, bufio.ErrBufferFull) {
			c.Problem = errLineTooLong
			var skipped int
			skipped, err = skipLine(r)
			c.Size += skipped
		} else if c.Message = bytes.TrimSpace(schema.TrimBOM(line)); len(c.Message) > schema.MaxDeclaredBytes {
			c.Message, c.Problem = nil, errLineTooLong
		} else {
			c.Message = bytes.Clone(c.Message) // the buffer is reused for the next line
		}
		if c.Problem != nil || len(c.Message) > 0 {
			select {
			case to <- c:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading standard input after line %d: %w", number, err)
		}
	}
}

// skipLine skips the remainder of a line that is too long.
func skipLine(r *bufio.Reader) (skipped int, err error) {
	for {
		part, err := r.ReadSlice('\n')
		skipped += len(part)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return skipped, err
		}
	}
}
