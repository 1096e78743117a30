package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"statusworker/cmd/internal/cli"
)

// exitTimeout is how long a command may take to return after the second signal.
const exitTimeout = 2 * time.Second

// handleSignals returns a context that ends on the first signal to stop, and one that ends on the second. If the
// process is still running exitTimeout later, it exits: reading a file or standard input may block forever.
func handleSignals() (ctx, leave context.Context) {
	ctx, stop := context.WithCancel(context.Background())
	leave, leaveNow := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE) // writing to a closed pipe is an error, and does not end the process
	go func() {
		<-signals
		stop()
		<-signals
		leaveNow()
		time.Sleep(exitTimeout)
		os.Exit(cli.ExitFault)
	}()
	return ctx, leave
}

// trimEnvironment removes white space around the values of OpenTelemetry's variables. OpenTelemetry reads them itself,
// and does not trim all of them.
func trimEnvironment() {
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "OTEL_") && value != cli.Trimmed(value) {
			_ = os.Setenv(name, cli.Trimmed(value)) // name and value are valid: they come from the environment
		}
	}
}
