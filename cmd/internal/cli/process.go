package cli

import (
	"cmp"
	"context"
	"io"
	"sync"

	"statusworker/cmd/internal/logbridge"
	"statusworker/cmd/internal/mask"
)

// Process is what a command uses of the process that it runs in.
type Process struct {
	// Command is how a user starts the program: the beginning of commands to type.
	Command        string
	Args           []string
	Getenv         func(string) string
	Environ        []string // all variables as NAME=VALUE; nil disables the check for unknown ones
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Leave ends on the second signal: the command must then exit without finishing its work.
	Leave context.Context
	// Standard writes the lines of Go's standard loggers to the log of the command. It is nil if several commands share
	// a process.
	Standard *logbridge.Bridge
	// Secrets are masked on Stderr, and on Stdout for commands with secret flags. [Program.Run] sets it.
	Secrets *mask.Set

	// file is the configuration file. [Program.Parser] loads it.
	file *file
}

// remembering is a writer that keeps the first error.
type remembering struct {
	io.Writer
	mu    sync.Mutex
	first error
}

func (r *remembering) Write(b []byte) (int, error) {
	n, err := r.Writer.Write(b)
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.first = cmp.Or(r.first, err)
	}
	return n, err
}

// Unwrap returns the underlying writer, so that a terminal is recognized.
func (r *remembering) Unwrap() io.Writer { return r.Writer }

func (r *remembering) firstError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// heedless is a writer that ignores errors: a failed write to standard error cannot be reported.
type heedless struct{ io.Writer }

func (h heedless) Write(b []byte) (int, error) {
	_, _ = h.Writer.Write(b)
	return len(b), nil
}

// Unwrap returns the underlying writer, so that a terminal is recognized.
func (h heedless) Unwrap() io.Writer { return h.Writer }
