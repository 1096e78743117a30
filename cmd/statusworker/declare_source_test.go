package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"statusworker/cmd/internal/producer"
	"statusworker/schema"
)

// line returns a declared message with a newline.
func line(id string, typ schema.Type) string {
	return fmt.Sprintf("{\"interactionIdentifier\":%q,\"type\":%q}\n", id, typ)
}

// declareLines declares lines, and requires the counts.
func declareLines(t *testing.T, at, lines string, declared, waiting int, flags ...string) *call {
	t.Helper()
	c := command(t, append([]string{"declare", "--nats-url", at}, flags...)...)
	c.stdin = strings.NewReader(lines)
	c.exits(exitOK)
	c.counts(producer.Counts{Declared: declared, Waiting: waiting})
	return c
}

// Some programs begin a file with a byte order mark. It is not stored.
func TestDeclareSkipsByteOrderMarks(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	const mark = "\ufeff"
	first, second := uuid.NewString(), uuid.NewString()
	declareLines(t, at, mark+line(first, schema.Chat)+mark+line(second, schema.Chat), 2, 0)
	for _, id := range []string{first, second} {
		got, want := string(message(t, js, ns.DeclaredSubject(schema.Chat, id)).Data), line(id, schema.Chat)
		if want = strings.TrimSpace(want); got != want {
			t.Errorf("message %q, want %q", got, want)
		}
	}

	data := filepath.Join(t.TempDir(), "data.json")
	if err := os.WriteFile(data, []byte(mark+"\r\n{\"x\": 1}\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := uuid.NewString()
	command(t, "declare", "--nats-url", at, "--type", "audio", "--data", data, id).exits(exitOK)
	got, want := string(message(t, js, ns.DeclaredSubject(schema.Audio, id)).Data),
		`{"interactionIdentifier":"`+id+`","type":"audio","x": 1}`
	if got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestDeclareReportsTheEncoding(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	for name, order := range map[string]binary.AppendByteOrder{"little-endian": binary.LittleEndian,
		"big-endian": binary.BigEndian} {
		for _, mark := range []string{"\ufeff", ""} {
			var b []byte
			for _, r := range mark + line(uuid.NewString(), schema.Chat) + line(uuid.NewString(), schema.Chat) {
				b = order.AppendUint16(b, uint16(r))
			}
			c := command(t, "declare", "--nats-url", at)
			c.stdin = strings.NewReader(string(b))
			c.exits(exitFault)
			c.counts(producer.Counts{})
			says(t, "standard error", &c.stderr, "UTF-16", "UTF-8")
			if lines := c.stderr.lines(); len(lines) != 1 {
				t.Errorf("%s: %d lines on standard error, want 1:\n%s", name, len(lines), &c.stderr)
			}
		}
	}
	if n := len(stored(t, js)); n != 0 {
		t.Errorf("%d messages are stored, want none", n)
	}
}

func TestDeclareRejectsAnotherCase(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	c := command(t, "declare", "--nats-url", at)
	c.stdin = strings.NewReader(strings.ReplaceAll(line(someID, schema.Audio), "}", `,"includeAIResults":false}`))
	c.exits(exitFault)
	c.counts(producer.Counts{Invalid: 1})
	says(t, "standard error", &c.stderr, "line 1: invalid: ", "includeAIResults", "includeAiResults")
	if n := len(stored(t, js)); n != 0 {
		t.Errorf("%d messages are stored, want none", n)
	}
}
