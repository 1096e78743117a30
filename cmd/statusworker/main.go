// Command statusworker asks ElevateAI for the status of declared interactions until it is terminal, and publishes what
// became of each. See README.md.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	_ "golang.org/x/crypto/x509roots/fallback" // certificate authorities for images that have none

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/logbridge"
)

// version is set by the linker in released images; otherwise the build information has it.
var version = ""

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
		os.Exit(cli.ExitFault)
	}()
	code, _ := run(ctx, cli.Process{
		Args:     os.Args[1:],
		Getenv:   os.Getenv,
		Environ:  os.Environ(),
		Stdin:    os.Stdin,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Leave:    leave,
		Standard: logbridge.Standard(),
	})
	return code
}

// trimEnvironment takes the white space around the values of OpenTelemetry's variables away: it reads them by itself,
// some as they are.
func trimEnvironment() {
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "OTEL_") && value != cli.Trimmed(value) {
			_ = os.Setenv(name, cli.Trimmed(value)) // the name and the value come from there
		}
	}
}

// say writes a line for people.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, format+"\n", args...)
}
