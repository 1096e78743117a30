package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/producer"
	"statusworker/schema"
)

// ns is the namespace of the tests.
var ns = schema.DefaultNamespace

// Exit codes.
const (
	exitOK    = cli.ExitOK
	exitFault = cli.ExitFault
	exitUsage = cli.ExitUsage
)

// started is the command that the tests pass to the program as the one that started it.
const started = "./bin/statusworker"

// output collects what a command writes. Tests can wait for a text in it.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) lines() []string {
	return strings.Split(strings.TrimSuffix(o.String(), "\n"), "\n")
}

// readable returns the output with the errors of commands as text, also those that are in JSON.
func (o *output) readable() string {
	var b strings.Builder
	for line := range strings.Lines(o.String()) {
		var record struct{ Msg, Error string }
		if json.Unmarshal([]byte(line), &record) == nil && record.Msg == "command failed" {
			line = "statusworker: " + record.Error + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// wait waits for a text.
func (o *output) wait(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	o.until(ctx, t, strconv.Quote(text), func(all string) bool { return strings.Contains(all, text) })
}

// next waits for more than n lines.
func (o *output) next(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	o.until(ctx, t, fmt.Sprintf("more than %d lines", n), func(all string) bool { return strings.Count(all, "\n") > n })
}

// until waits until the output satisfies a condition.
func (o *output) until(ctx context.Context, t *testing.T, what string, is func(all string) bool) {
	t.Helper()
	for {
		o.mu.Lock()
		if is(o.b.String()) {
			o.mu.Unlock()
			return
		}
		if o.changed == nil {
			o.changed = make(chan struct{})
		}
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("waiting for %s in:\n%s", what, o)
		}
	}
}

// call is one run of a command, in this process.
type call struct {
	t              *testing.T
	ctx            context.Context
	args           []string
	env            map[string]string
	stdin          io.Reader
	stop           context.CancelFunc
	stdout, stderr output
	code           chan int
	err            error // of the command, after its end
}

// command prepares a call. It is stopped at the end of the test.
func command(t *testing.T, args ...string) *call {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return &call{
		t:     t,
		ctx:   ctx,
		args:  args,
		env:   map[string]string{"STATUSWORKER_ADMIN_ADDR": "127.0.0.1:0"},
		stdin: strings.NewReader(""),
		code:  make(chan int, 1),
	}
}

func (c *call) start() *call {
	ctx, stop := context.WithCancel(c.ctx)
	c.stop = stop
	go func() {
		code, err := run(ctx, cli.Process{
			Command: started, Args: c.args, Getenv: func(name string) string { return c.env[name] },
			Stdin: c.stdin, Stdout: &c.stdout, Stderr: &c.stderr, Leave: c.ctx,
		})
		c.err = err
		c.code <- code
	}()
	return c
}

// rejects runs a command, and requires that it rejects a setting, named as `--flag ($VARIABLE)`. It returns the error.
func (c *call) rejects(setting string) *cli.SettingError {
	c.t.Helper()
	c.exits(exitUsage)
	var bad *cli.SettingError
	if !errors.As(c.err, &bad) || bad.Name() != setting {
		c.t.Fatalf("%v: %v, want an error about %s", c.args, c.err, setting)
	}
	return bad
}

// logs waits for a text on standard error.
func (c *call) logs(text string) {
	c.t.Helper()
	c.stderr.wait(c.ctx, c.t, text)
}

// prints waits for a text on standard output.
func (c *call) prints(text string) {
	c.t.Helper()
	c.stdout.wait(c.ctx, c.t, text)
}

// end waits for the exit code.
func (c *call) end() int {
	c.t.Helper()
	select {
	case code := <-c.code:
		return code
	case <-c.ctx.Done():
		c.t.Fatalf("%v is still running; stdout:\n%s\nstderr:\n%s", c.args, &c.stdout, &c.stderr)
		return -1
	}
}

// exits runs a command to its end, and requires an exit code.
func (c *call) exits(want int) *call {
	c.t.Helper()
	if got := c.start().end(); got != want {
		c.t.Fatalf("%v: exit code %d, want %d; stdout:\n%s\nstderr:\n%s", c.args, got, want, &c.stdout, &c.stderr)
	}
	return c
}

// counts requires the counts of a `declare` that has ended.
func (c *call) counts(want producer.Counts) {
	c.t.Helper()
	var got producer.Counts
	const format = "declared %d, already waiting %d, already processed %d, invalid %d, not stored %d\n"
	if _, err := fmt.Sscanf(c.stdout.String(), format,
		&got.Declared, &got.Waiting, &got.Processed, &got.Invalid, &got.NotStored); err != nil {
		c.t.Fatalf("%v in %q", err, &c.stdout)
	}
	if got != want {
		c.t.Errorf("counted %v, want %v; stderr:\n%.2000s", got, want, &c.stderr)
	}
}

// says requires texts in an output.
func says(t *testing.T, what string, o *output, texts ...string) {
	t.Helper()
	if len(texts) == 0 {
		t.Errorf("%s: no texts given", what)
	}
	for _, text := range texts {
		if !strings.Contains(o.readable(), text) {
			t.Errorf("%s has no %q:\n%s", what, text, o)
		}
	}
}
