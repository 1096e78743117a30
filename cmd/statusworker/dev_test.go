//go:build !nodev

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"statusworker/schema"
)

func TestDevRuns(t *testing.T) {
	t.Parallel()
	other, err := schema.NewNamespace("eu")
	if err != nil {
		t.Fatal(err)
	}
	for mode, ns := range map[string]schema.Namespace{"schedule": ns, "nak": other} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := command(t, "dev", "--speed", "40", "--count", "10", "--redelivery", mode, "--namespace", ns.String())
			began := time.Now()
			c.exits(exitOK)
			t.Logf("%s after %s", mode, time.Since(began))
			for _, d := range schema.Destinations() {
				says(t, "the summary", &c.stdout, ns.ProcessedSubject(d, "*"))
			}
			for _, r := range schema.Reasons() {
				says(t, "the summary", &c.stdout, ns.FailedSubject(r, "*"))
				if r != schema.InternalError { // which no vendor and no producer can cause
					says(t, "the summary", &c.stdout, "  "+string(r)+"\n")
				}
			}
			says(t, "the summary", &c.stdout, "redelivery mode "+mode+", 40 times real time, ", "(1 declared twice)",
				"missing 0, duplicate 0, unexpected 0, polled too early 0\nall outcomes are as expected\n")
			for _, line := range c.stdout.lines() {
				if strings.Contains(line, "\x1b") {
					t.Errorf("terminal control without a terminal: %q", line)
				}
			}
		})
	}
}

func TestDevStopsAtOnce(t *testing.T) {
	t.Parallel()
	c := command(t, "dev").start()
	c.prints("invalid_message")
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0:\n%s", code, &c.stderr)
	}
	if lines := c.stdout.lines(); lines[len(lines)-1] != "stopped" {
		t.Errorf("the last line is %q, want stopped", lines[len(lines)-1])
	}
}

// With --keep, the demo prints commands that work.
func TestDevKeep(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"schedule", "nak"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			devKeep(t, mode)
		})
	}
}

func devKeep(t *testing.T, mode string) {
	directory := t.TempDir()
	c := command(t, "dev", "--speed", "25", "--count", "0", "--keep", "--redelivery", mode)
	c.env["TMPDIR"] = directory
	c.start()
	c.prints("keep running until Ctrl-C")
	c.prints("Subjects of new messages in INTERACTIONS_OUTCOMES")
	for _, name := range []string{"status", "dlq ls", "doctor"} {
		command(t, typed(t, &c.stdout, name)...).exits(exitOK)
	}
	address := regexp.MustCompile(`(?m)^  console (http://127\.0\.0\.1:\d+)/$`).FindStringSubmatch(c.stdout.String())
	if address == nil {
		t.Fatalf("no address of a console in\n%s", &c.stdout)
	}
	if text := page(t, c, address[1]+"/"); !strings.Contains(text, "Actions are allowed") {
		t.Errorf("the console shows\n%s", text)
	}
	args := typed(t, &c.stdout, "declare")
	command(t, args...).exits(exitOK)
	c.prints(ns.ProcessedSubject(schema.ToCXAI, args[len(args)-1]))
	shown := command(t, typed(t, &c.stdout, "show")...).exits(exitOK)
	says(t, "standard output", &shown.stdout, args[len(args)-1]+"  processed")
	if here, err := os.ReadDir(directory); err != nil || len(here) != 1 {
		t.Errorf("%v (%v) in the temporary directory, want the broker's", here, err)
	}
	c.stop()
	if code := c.end(); code != exitOK {
		t.Errorf("exit code %d after a stop, want 0:\n%s", code, &c.stderr)
	}
	if left, err := os.ReadDir(directory); err != nil || len(left) != 0 {
		t.Errorf("%v (%v) remains", left, err)
	}
}
