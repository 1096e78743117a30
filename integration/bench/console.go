package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"

	"statusworker/consumer"
)

// consolePages are the pages that are measured.
var consolePages = []string{
	"/", "/dead-letters", "/dead-letters?before=%d", "/dead-letters?reason=not_found",
	"/dead-letters?type=chat", "/dead-letters?detail=nowhere", "/dead-letters/%d",
	"/dead-letters/confirm?do=replay-all", "/dead-letters/confirm?do=purge-all&reason=not_found",
}

// measureConsole requests pages of the console with many dead letters, and prints their time and the console's peak
// memory.
func measureConsole(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	dir, program, err := buildProgram(ctx, stderr)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := newRig(ctx, consumer.Schedule, consumer.Guidance, 1, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	fmt.Fprintf(stderr, "storing %d dead letters\n", s.manyDead)
	if err := r.broker.fill(ctx, s.manyDead, 0, dead); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c := exec.CommandContext(ctx, program, "console", "--addr", "127.0.0.1:0", "--allow-writes")
	c.Env = append(os.Environ(), "NATS_URL="+r.address())
	output, err := c.StderrPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("starting the console: %w", err)
	}
	defer func() { stop(); _ = c.Wait() }()
	var line struct{ Address string }
	log := bufio.NewScanner(output)
	for line.Address == "" && log.Scan() {
		_ = json.Unmarshal(log.Bytes(), &line) // other lines have no address
	}
	go func() { _, _ = io.Copy(io.Discard, output) }()
	fmt.Fprintf(stdout, "\nConsole with %d dead letters: each page %d times.\n\n", s.manyDead, s.rounds)
	fmt.Fprintln(stdout, "| page | median, ms | longest, ms | peak RSS, MB |")
	fmt.Fprintln(stdout, "|---|--:|--:|--:|")
	for _, page := range consolePages {
		path := page
		if slices.Contains([]byte(page), '%') {
			path = fmt.Sprintf(page, s.manyDead/2)
		}
		took, err := requestPage(ctx, line.Address+path[1:], s.rounds)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "| `%s` | %d | %d | %.1f |\n", path, took[len(took)/2].Milliseconds(),
			took[len(took)-1].Milliseconds(), float64(peakSize(c.Process.Pid))/1e6)
	}
	return nil
}

// requestPage requests a page n times, and returns how long each request took, sorted.
func requestPage(ctx context.Context, address string, n int) (took []time.Duration, err error) {
	for len(took) < n {
		began := time.Now()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, a.Body)
		a.Body.Close()
		switch {
		case err != nil:
			return nil, err
		case a.StatusCode == http.StatusServiceUnavailable: // it is not connected yet
			continue
		case a.StatusCode != http.StatusOK:
			return nil, fmt.Errorf("%s: %s", address, a.Status)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took, nil
}
