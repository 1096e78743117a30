// Command statusworker asks ElevateAI for the status of declared interactions until it is terminal, and publishes what
// became of each. See README.md.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	_ "golang.org/x/crypto/x509roots/fallback" // certificate authorities for images that have none
)

// version is set by the linker in released images; otherwise the build information tells.
var version = ""

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1
	exitUsage = 2
)

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
	go func() {
		<-signals
		stop()
		<-signals
		now()
	}()
	return run(ctx, process{
		args: os.Args[1:], getenv: os.Getenv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, leave: leave,
	})
}

// process is what a command sees of the process that it runs in.
type process struct {
	args           []string
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	// leave ends when the process is told a second time to stop.
	leave context.Context
}

// say writes a line for people.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, format+"\n", args...)
}
