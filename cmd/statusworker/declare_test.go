package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"statusworker/cmd/broker/embedded"
	"statusworker/cmd/internal/producer"
	"statusworker/schema"
)

const someID = "bd5c92f3-c228-44a6-91bf-b52672569878"

// stored returns the number of declared messages in the stream, by subject.
func stored(t *testing.T, js jetstream.JetStream) map[string]uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), ns.StreamDeclared())
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Subjects
}

// message returns the stored message of a subject.
func message(t *testing.T, js jetstream.JetStream, subject string) *jetstream.RawStreamMsg {
	t.Helper()
	s, err := js.Stream(t.Context(), ns.StreamDeclared())
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), subject)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return m
}

func TestDeclareIdentifiers(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	folder := t.TempDir()
	data := filepath.Join(folder, "data.json")
	if err := os.WriteFile(data, []byte(" {\"customer\": {\"n\": 1.50}, \"tags\":[ 1,2 ]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := command(t, "declare", "--nats-url", at, "--type", "audio", strings.ToUpper(someID)).exits(exitOK)
	c.counts(producer.Counts{Declared: 1})
	m := message(t, js, ns.DeclaredSubject(schema.Audio, someID))
	if got, want := string(m.Data), `{"interactionIdentifier":"`+someID+`","type":"audio"}`; got != want {
		t.Errorf("message %s, want %s", got, want)
	}
	if len(m.Header) != 0 {
		t.Errorf("headers %v, want none", m.Header)
	}

	ids := []string{uuid.NewString(), uuid.NewString()}
	flags := []string{"declare", "--nats-url", at, "--type", "chat", "--no-include-ai-results", "--data", data}
	command(t, append(flags, ids...)...).exits(exitOK)
	for _, id := range ids {
		got, want := string(message(t, js, ns.DeclaredSubject(schema.Chat, id)).Data),
			`{"interactionIdentifier":"`+id+`","type":"chat","includeAiResults":false,`+
				`"customer": {"n": 1.50}, "tags":[ 1,2 ]}`
		if got != want {
			t.Errorf("message %s, want %s", got, want)
		}
	}

	id := uuid.NewString()
	c = command(t, "declare", "--nats-url", at, "--type", "transcript", "--include-ai-results", "--data", "-", id)
	c.stdin = strings.NewReader("{}")
	c.exits(exitOK)
	got, want := string(message(t, js, ns.DeclaredSubject(schema.Transcript, id)).Data),
		`{"interactionIdentifier":"`+id+`","type":"transcript","includeAiResults":true}`
	if got != want {
		t.Errorf("message %s, want %s", got, want)
	}

	c = command(t, "declare", "--nats-url", at, "--type", "audio", someID, uuid.NewString()).exits(exitOK)
	c.counts(producer.Counts{Declared: 1, Waiting: 1})
}

func TestDeclareRejectsIdentifiers(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	bad := []string{
		"../../x",
		"*",
		">",
		"bd5c92f3-c228-44a6-91bf-b5267256987",
		"bd5c92f3-c228-44a6-91bf-b5267256987g",
		"a\nb",
		strings.Repeat("x", 200),
	}
	flags := []string{"declare", "--nats-url", at, "--type", "audio", someID}
	c := command(t, append(flags, bad...)...).exits(exitFault)
	c.counts(producer.Counts{Declared: 1, Invalid: len(bad)})
	if lines := c.stderr.lines(); len(lines) != len(bad) {
		t.Errorf("%d lines on standard error, want %d:\n%s", len(lines), len(bad), &c.stderr)
	}
	says(t, "standard error", &c.stderr, `identifier "../../x": invalid:`, "interactionIdentifier", `"a\nb"`)
	if n := len(stored(t, js)); n != 1 {
		t.Errorf("%d messages are stored, want 1", n)
	}
}

func TestDeclareRejectsData(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"":                                  "empty",
		"[]":                                "not an object",
		`"text"`:                            "not an object",
		`{"a":1} x`:                         "after",
		`{"a":1,"a":2}`:                     "duplicate",
		`{"type":"audio"}`:                  "member type",
		`{"interactionIdentifier":1}`:       "member interactionIdentifier",
		`{"includeAiResults":true}`:         "member includeAiResults",
		`{"includeAIResults":true}`:         "includeAIResults",
		`{"x":1,"Type":"audio"}`:            "Type",
		`{"INTERACTIONIDENTIFIER":"x"}`:     "INTERACTIONIDENTIFIER",
		`{"SpecVersion":"1.0"}`:             "SpecVersion",
		"\ufeff":                            "empty",
		"\ufeff\ufeff{}":                    "not valid JSON",
		"\xff\xfe{\x00}\x00":                "UTF-16",
		"\xfe\xff\x00{\x00}":                "UTF-16",
		"{\x00}\x00":                        "UTF-16",
		`{"a":"` + spaces(64<<10) + `"}`:    "larger than 65536",
		strings.Repeat(`{"a":`, 20) + "{}}": "",
	} {
		c := command(t, "declare", "--type", "audio", "--include-ai-results", "--data", "-", someID)
		c.stdin = strings.NewReader(data)
		if bad := c.rejects("--data"); bad.Value != `"-"` || !strings.Contains(bad.Allowed, want) {
			t.Errorf("%v, want %q in it", bad, want)
		}
		if lines := c.stderr.lines(); len(lines) != 1 {
			t.Errorf("%d lines on standard error, want 1:\n%s", len(lines), &c.stderr)
		}
	}
}

func spaces(n int) string { return strings.Repeat(" ", n) }

// backfill returns n valid lines with invalid ones between them, and how the errors about these begin.
func backfill(n int) (text string, bad []string) {
	var b strings.Builder
	line := 0
	add := func(s string) {
		line++
		b.WriteString(s + "\n")
	}
	wrong := func(s, member string) {
		add(s)
		bad = append(bad, fmt.Sprintf("line %d: invalid: %s", line, member))
	}
	for i := range n {
		id, typ := uuid.NewString(), schema.Types()[i%3]
		switch i % 1000 {
		case 0:
			wrong(
				`{"interactionIdentifier":"x","type":"audio"}`,
				`declared message: member "interactionIdentifier": "x" is 1 bytes long`,
			)
			wrong("not JSON", "declared message: not valid JSON")
		case 100:
			wrong(
				fmt.Sprintf(`{"interactionIdentifier":%q,"type":"fax"}`, id),
				`declared message: member "type": must be "audio", "chat" or "transcript", is "fax"`,
			)
			add("") // skipped, but counted
		case 200:
			wrong(
				fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q,"x":"%s"}`, id, typ, spaces(200<<10)),
				"it is longer than 65536 bytes",
			)
			wrong(
				fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q,"x":"%s"}`, id, typ, spaces(64<<10-70)),
				"it is longer than 65536 bytes",
			)
		case 300: // a CloudEvent, on a line that ends with \r\n
			add(
				fmt.Sprintf(
					`{"specversion":"1.0","id":"1","source":"/test","type":"declared",`+
						`"data":{"interactionIdentifier":%q,"type":%q}}`+"\r",
					id,
					typ,
				),
			)
			continue
		case 400:
			add(
				fmt.Sprintf(
					`  {"interactionIdentifier":%q,"type":%q,"x":"%s"}`,
					strings.ToUpper(id),
					typ,
					spaces(60<<10),
				),
			)
			continue
		}
		add(fmt.Sprintf(`{"interactionIdentifier":%q,"type":%q,"n":%d}`, id, typ, i))
	}
	return strings.TrimSuffix(b.String(), "\n"), bad // the last line has no newline
}

// withoutProgress returns the lines of an output, without the progress that a slow machine adds.
func withoutProgress(o *output) []string {
	return slices.DeleteFunc(
		o.lines(),
		func(line string) bool { return line == "" || strings.HasPrefix(line, "so far: ") },
	)
}

func TestDeclareBackfillTwice(t *testing.T) {
	t.Parallel()
	const n = 2000
	at, js := provisioned(t)
	text, bad := backfill(n)
	declare := func() *call {
		c := command(t, "declare", "--nats-url", at)
		c.stdin = strings.NewReader(text)
		return c.exits(exitFault)
	}
	first := declare()
	first.counts(producer.Counts{Declared: n, Invalid: len(bad)})
	lines := withoutProgress(&first.stderr)
	if len(lines) != len(bad) {
		t.Errorf("%d lines on standard error, want %d", len(lines), len(bad))
	}
	for i, want := range bad {
		if i < len(lines) && !strings.HasPrefix(lines[i], want) {
			t.Errorf("standard error has\n%.200s\nwant\n%s", lines[i], want)
		}
	}
	subjects := stored(t, js)
	if len(subjects) != n {
		t.Errorf("%d messages are stored, want %d", len(subjects), n)
	}
	for subject, count := range subjects {
		if count != 1 {
			t.Errorf("%d messages on %s", count, subject)
		}
	}
	again := declare()
	again.counts(producer.Counts{Waiting: n, Invalid: len(bad)})
	if have := len(stored(t, js)); have != n {
		t.Errorf("%d messages are stored after the second run, want %d", have, n)
	}
}

func TestDeclaringAgainAfterTakingIn(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	declare := func() *call {
		return command(t, "declare", "--nats-url", at, "--type", "audio", someID).exits(exitOK)
	}
	declare()
	s, err := js.Stream(t.Context(), ns.StreamDeclared())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err != nil { // like a worker's acknowledgement
		t.Fatal(err)
	}
	declare().counts(producer.Counts{Declared: 1})
	if n := len(stored(t, js)); n != 1 {
		t.Errorf("%d messages are stored, want 1: the broker must not remember the first", n)
	}
}

func TestDeclareStopsBetweenLines(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t)
	c := command(t, "declare", "--nats-url", at)
	feed := c.feed()
	c.start()
	const n = 700 // more than the producer's window
	for range n {
		fmt.Fprintf(feed, "{\"interactionIdentifier\":%q,\"type\":\"chat\"}\n", uuid.NewString())
	}
	waitFor(c.ctx, t, func() bool { return len(stored(t, js)) == n })
	c.stop() // while the command waits for line 701
	if code := c.end(); code != exitFault {
		t.Errorf("exit code %d, want 1: the input was not read completely", code)
	}
	c.counts(producer.Counts{Declared: n})
	says(t, "standard error", &c.stderr, fmt.Sprintf("stopped: %d read, %d declared", n, n))
}

// waitFor waits until a condition is true.
func waitFor(ctx context.Context, t *testing.T, cond func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !cond() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal("the condition is not met in time")
		}
	}
}

// A signal during the wait is an error for commands that were to end by themselves.
func TestStopWhileWaiting(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"provision":    {[]string{"provision"}, exitFault, "stopped: not everything is provisioned"},
		"status":       {[]string{"status"}, exitFault, "stopped: the broker has not answered"},
		"status, JSON": {[]string{"status", "-o", "json"}, exitFault, "stopped: the broker has not answered"},
		"watching":     {[]string{"status", "--watch"}, exitOK, ""},
		"working":      {[]string{"run", "--api-token", "token"}, exitOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := command(t, append(tt.args, "--nats-url", nobody(t))...).start()
			c.logs("waiting for NATS")
			c.stop()
			if code := c.end(); code != tt.code {
				t.Errorf("exit code %d, want %d:\n%s", code, tt.code, &c.stderr)
			}
			says(t, "standard error", &c.stderr, tt.says)
		})
	}
}

func TestDeclareStopsWhileWaiting(t *testing.T) {
	t.Parallel()
	c := command(t, "declare", "--nats-url", nobody(t), "--type", "audio", someID).start()
	c.logs("waiting for NATS")
	c.stop()
	if code := c.end(); code != exitFault {
		t.Errorf("exit code %d, want 1", code)
	}
	says(t, "standard error", &c.stderr, "stopped: nothing was declared")
}

// feed connects standard input to a writer. Writes fail after the end of the call's time, so that they do not block.
func (c *call) feed() io.WriteCloser {
	in, feed := io.Pipe()
	c.stdin = in
	context.AfterFunc(c.ctx, func() { in.Close() })
	return feed
}

// linesOf returns n lines to declare.
func linesOf(n int) string {
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, "{\"interactionIdentifier\":%q,\"type\":\"chat\"}\n", uuid.NewString())
	}
	return b.String()
}

func TestDeclareSurvivesARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	command(t, "provision", "--nats-url", s.URL()).exits(exitOK)
	c := command(t, "declare", "--nats-url", s.URL())
	feed := c.feed()
	c.start()
	const n = 1000
	scanner := bufio.NewScanner(strings.NewReader(linesOf(n)))
	for i := 0; scanner.Scan(); i++ {
		if i == n/2 {
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintln(feed, scanner.Text())
	}
	feed.Close()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s", code, &c.stdout, &c.stderr)
	}
	if have := len(stored(t, connectTo(t, s.URL()))); have != n {
		t.Errorf("%d messages are stored, want %d; %s", have, n, &c.stdout)
	}
}

func TestDeclareWaitsForAFullStream(t *testing.T) {
	t.Parallel()
	at, js := provisioned(t, "--declared-max-msgs", "10")
	c := command(t, "declare", "--nats-url", at)
	c.stdin = strings.NewReader(linesOf(25))
	c.start()
	s, err := js.Stream(t.Context(), ns.StreamDeclared())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // like workers, which take messages in
		waitFor(c.ctx, t, func() bool { return len(stored(t, js)) == 10 })
		if err := s.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d, want 0:\n%s", code, &c.stderr)
	}
	c.counts(producer.Counts{Declared: 25})
}

func TestDeclareReportsReadErrors(t *testing.T) {
	t.Parallel()
	at, _ := provisioned(t)
	c := command(t, "declare", "--nats-url", at)
	c.stdin = io.MultiReader(strings.NewReader(linesOf(3)), brokenReader{})
	c.exits(exitFault)
	c.counts(producer.Counts{Declared: 3})
	if !errors.Is(c.err, errDisk) || !strings.Contains(c.err.Error(), "line 4") {
		t.Errorf("error %v, want errDisk after line 4", c.err)
	}
}

type brokenReader struct{}

var errDisk = errors.New("disk failure")

func (brokenReader) Read([]byte) (int, error) { return 0, errDisk }

// Empty input is an error: an export has probably failed.
func TestDeclareOfEmptyInput(t *testing.T) {
	t.Parallel()
	at, _ := provisioned(t)
	for _, input := range []string{"", "\n \r\n", "\ufeff", "\ufeff\n"} {
		c := command(t, "declare", "--nats-url", at)
		c.stdin = strings.NewReader(input)
		c.exits(exitFault)
		says(t, "standard error", &c.stderr, "standard input")
	}
}
