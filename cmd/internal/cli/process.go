package cli

import (
	"cmp"
	"context"
	"io"
	"sync"

	"statusworker/cmd/internal/logbridge"
	"statusworker/cmd/internal/mask"
)

// Process is what a command sees of the process that it runs in.
type Process struct {
	Args           []string
	Getenv         func(string) string
	Environ        []string // all variables, each as NAME=VALUE; nil where they are not looked at
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Leave ends when the process gets a second signal to stop.
	Leave context.Context
	// Standard takes Go's standard loggers into the log of the command. It is nil where several commands share a
	// process.
	Standard *logbridge.Bridge
	// Secrets are masked in what is written to Stderr, and by commands that have secrets to Stdout. [Program.Run] sets
	// it.
	Secrets *mask.Set
}

// remembering is a writer that remembers the first error.
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

// Unwrap gives the writer behind r.
func (r *remembering) Unwrap() io.Writer { return r.Writer }

func (r *remembering) problem() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// heedless is a writer that ignores errors. An error of standard error can be reported nowhere.
type heedless struct{ io.Writer }

func (h heedless) Write(b []byte) (int, error) {
	_, _ = h.Writer.Write(b)
	return len(b), nil
}

// Unwrap gives the writer behind h.
func (h heedless) Unwrap() io.Writer { return h.Writer }
