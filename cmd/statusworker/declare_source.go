package main

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

// candidate is a message that may be declared, or why it cannot be one.
type candidate struct {
	// where names it for people: `line 17`.
	where   string
	message []byte
	problem error
	// size is how many bytes of the input it took.
	size int
}

// source gives candidates, one after the other, until there are no more or ctx ends. An error means that it could not
// be read to its end.
type source interface {
	give(ctx context.Context, to chan<- candidate) error
}

// arguments are identifiers from the command line.
type arguments struct {
	ids  []string
	typ  string
	ai   *bool
	more []byte
}

func (a arguments) give(ctx context.Context, to chan<- candidate) error {
	for _, id := range a.ids {
		select {
		case to <- candidate{where: "identifier " + schema.Quote(id), message: a.message(id)}:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (a arguments) message(id string) []byte {
	var b bytes.Buffer
	b.WriteString(`{"interactionIdentifier":`)
	b.Write(quoted(strings.ToLower(id)))
	b.WriteString(`,"type":`)
	b.Write(quoted(a.typ))
	if a.ai != nil {
		fmt.Fprintf(&b, `,"includeAiResults":%t`, *a.ai)
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
		panic(err) // a string can always be encoded
	}
	return b
}

// lines are declared messages, one a line. Empty lines are passed over, and a byte order mark before a line is left out:
// files that begin with one may have been put together.
type lines struct{ from io.Reader }

const byteOrderMark = 3

var errLineTooLong = fmt.Errorf("it is longer than %d bytes", schema.MaxDeclaredBytes)

func (l lines) give(ctx context.Context, to chan<- candidate) error {
	r := bufio.NewReaderSize(l.from, byteOrderMark+schema.MaxDeclaredBytes+2) // with \r\n
	for number := 1; ; number++ {
		line, err := r.ReadSlice('\n')
		if encoding := schema.ForeignEncoding(line); number == 1 && encoding != "" {
			// Each of its lines would be refused on its own, and none is one.
			return fmt.Errorf("standard input is %s, want UTF-8: convert it, for example by `iconv -f %[1]s -t UTF-8`", encoding)
		}
		c := candidate{where: fmt.Sprintf("line %d", number), size: len(line)}
		if errors.Is(err, bufio.ErrBufferFull) {
			c.problem = errLineTooLong
			var skipped int
			skipped, err = skipLine(r)
			c.size += skipped
		} else if c.message = bytes.TrimSpace(schema.TrimBOM(line)); len(c.message) > schema.MaxDeclaredBytes {
			c.message, c.problem = nil, errLineTooLong
		} else {
			c.message = bytes.Clone(c.message) // the next line comes into the same buffer
		}
		if c.problem != nil || len(c.message) > 0 {
			select {
			case to <- c:
			case <-ctx.Done():
				return nil
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

// skipLine reads up to the end of a line that is too long.
func skipLine(r *bufio.Reader) (skipped int, err error) {
	for {
		part, err := r.ReadSlice('\n')
		skipped += len(part)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return skipped, err
		}
	}
}
