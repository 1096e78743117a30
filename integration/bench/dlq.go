package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"statusworker/consumer"
	"statusworker/schema"
)

// measureDLQ runs the dlq commands with few and with many dead letters, and prints their time and peak memory.
func measureDLQ(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	dir, program, err := buildProgram(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var found []dlqRun
	for _, n := range []int{s.fewDead, s.manyDead} {
		runs, err := runDLQ(ctx, program, n, stderr)
		if err != nil {
			return fmt.Errorf("measuring the dead-letter queue with %d dead letters: %w", n, err)
		}
		found = append(found, runs...)
	}
	fmt.Fprint(stdout, "\nDead letters: one process for each command, its output discarded.\n\n")
	fmt.Fprintln(stdout, "| dead letters | command | seconds | peak RSS, MB |")
	fmt.Fprintln(stdout, "|--:|---|--:|--:|")
	for _, r := range found {
		fmt.Fprintf(
			stdout,
			"| %d | `statusworker dlq %s` | %.2f | %.1f |\n",
			r.letters,
			r.command,
			r.took.Seconds(),
			r.peak,
		)
	}
	return nil
}

// buildProgram builds the program in a new directory.
func buildProgram(ctx context.Context, stderr io.Writer) (dir, program string, err error) {
	dir, err = os.MkdirTemp("", "bench-program-")
	if err != nil {
		return "", "", fmt.Errorf("creating a directory for the program: %w", err)
	}
	program = filepath.Join(dir, "statusworker")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "statusworker/cmd/statusworker")
	build.Stderr = stderr
	if err := build.Run(); err != nil {
		_ = os.RemoveAll(dir)
		return "", "", fmt.Errorf("building the program: %w", err)
	}
	return dir, program, nil
}

// dlqRun is the measurement of one command.
type dlqRun struct {
	letters int
	command string
	took    time.Duration
	peak    float64 // MB
}

// runDLQ stores n dead letters with two reasons, and runs the commands.
func runDLQ(ctx context.Context, program string, n int, stderr io.Writer) (runs []dlqRun, err error) {
	r, err := newRig(ctx, consumer.Schedule, consumer.Guidance, 1, stderr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	fmt.Fprintf(stderr, "storing %d dead letters\n", n)
	if err := r.broker.fill(ctx, n, 0, dead); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"ls"},
		{"ls", "-o", "json"},
		{"ls", "--reason", "not_found"},
		{"ls", "--type", "chat"},
		{"replay", "--all", "--yes"},
	} {
		run, err := runCommand(ctx, program, r.address(), args, stderr)
		if err != nil {
			return runs, err
		}
		run.letters = n
		runs = append(runs, run)
	}
	stream, err := r.broker.js.Stream(ctx, ns.StreamDeclared())
	if err != nil {
		return runs, fmt.Errorf("counting the replayed messages: %w", err)
	}
	if state := stream.CachedInfo().State; state.Msgs != uint64(n) || state.LastSeq != uint64(n) {
		return runs, fmt.Errorf("%d declared messages are stored, %d were published; both must be %d",
			state.Msgs, state.LastSeq, n)
	}
	return runs, nil
}

func runCommand(ctx context.Context, program, url string, args []string, stderr io.Writer) (dlqRun, error) {
	run := dlqRun{command: strings.Join(args, " ")}
	fmt.Fprintf(stderr, "statusworker dlq %s\n", run.command)
	c := exec.CommandContext(ctx, program, append([]string{"dlq"}, args...)...)
	c.Env = append(os.Environ(), "NATS_URL="+url)
	c.Stderr = stderr
	begun := time.Now()
	if err := c.Start(); err != nil {
		return run, fmt.Errorf("running statusworker dlq %s: %w", run.command, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	// Read while the process runs: its rusage would include the memory of this process at the fork.
	sample := time.NewTicker(10 * time.Millisecond)
	defer sample.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return run, fmt.Errorf("running statusworker dlq %s: %w", run.command, err)
			}
			run.took = time.Since(begun)
			return run, nil
		case <-sample.C:
			run.peak = max(run.peak, float64(peakSize(c.Process.Pid))/1e6)
		}
	}
}

// dead returns a dead letter of typical size.
func dead(number int) *nats.Msg {
	stored := time.Now().Add(-time.Hour).UTC()
	o := schema.Outcome{
		Identifier: uuid.NewString(), Type: schema.Audio, Reason: schema.NotFound,
		Detail:   "ElevateAI did not know the interaction at 11 consecutive polls over 5m12s: ElevateAI answered 404",
		Observed: stored.Add(5 * time.Minute), Answer: json.RawMessage(`{"status":404,"title":"Not Found"}`),
	}
	if number%2 == 0 {
		o.Reason = schema.ProcessingFailed
	}
	o.Declaration = declaredMessage(schema.Audio, o.Identifier)
	o.Origin = schema.Origin{Stream: ns.StreamDeclared(), Subject: ns.DeclaredSubject(o.Type, o.Identifier),
		Sequence: uint64(number), Deliveries: 1, Stored: stored, Polls: 11}
	data, err := o.Marshal()
	if err != nil {
		panic(err) // the declaration and the answer are valid JSON
	}
	return &nats.Msg{Subject: ns.OutcomeSubject(o), Data: data}
}
