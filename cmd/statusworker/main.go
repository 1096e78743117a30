// Command statusworker asks ElevateAI for the status of declared interactions until it is terminal, and publishes what
// became of each. See README.md.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	_ "golang.org/x/crypto/x509roots/fallback" // certificate authorities for images that have none

	"statusworker/cmd/internal/logbridge"
	"statusworker/cmd/internal/mask"
)

// version is set by the linker in released images; otherwise the build information tells.
var version = ""

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1
	exitUsage = 2
)

// leaveWithin is how long the orderly way out may take after the second signal.
const leaveWithin = 2 * time.Second

func main() {
	os.Exit(realMain())
}

func realMain() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	leave, now := context.WithCancel(context.Background())
	defer now()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup starts a process
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE) // a write that nobody reads is an error, and not the end
	trimEnvironment()
	go func() {
		<-signals
		stop()
		<-signals
		now()
		// Whatever hangs then (a file, standard input) does not keep the process.
		time.Sleep(leaveWithin)
		os.Exit(exitFault)
	}()
	return run(ctx, process{
		args: os.Args[1:], getenv: os.Getenv, environ: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, leave: leave,
		standard: logbridge.Standard(),
	})
}

// process is what a command sees of the process that it runs in.
type process struct {
	args           []string
	getenv         func(string) string
	environ        []string // all variables, each as NAME=VALUE; nil where they are not looked at
	stdin          io.Reader
	stdout, stderr io.Writer
	// leave ends when the process is told a second time to stop.
	leave context.Context
	// secrets are masked in what is written to stderr, and by commands that have secrets to stdout.
	secrets *mask.Set
	// standard takes Go's standard loggers into the log of the command. It is nil where several commands share a process.
	standard *logbridge.Bridge
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

// say writes a line for people.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, format+"\n", args...)
}
