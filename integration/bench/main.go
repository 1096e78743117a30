// Command bench measures the cost of a poll: the CPU of the worker compared with that of a minimal poller (the bare
// loop), and the worker's memory with few and with many interactions in flight.
//
//	go run ./integration/bench                 cpu and memory, about nine minutes
//	go run ./integration/bench -only cpu
//	go run ./integration/bench -only memory
//	go run ./integration/bench -only dlq       time and memory of the dlq commands, with few and many dead letters
//	go run ./integration/bench -only console   time and memory of pages of the console, with many dead letters
//	go run ./integration/bench -only backlog   speed when few and when many interactions are due, six minutes
//	go run ./integration/bench -only outage    time to poll what fell due in an outage of the vendor, eight minutes
//	go run ./integration/bench -only sizing    CPU of steady loads, with one replica and with three; 16 minutes
//	go run ./integration/bench -only batch     processed events: one atomic batch an audio, or two publishes
//	go run ./integration/bench -only interval  times between polls at the vendor's guidance; six minutes
//	go run ./integration/bench -only waiting   pending messages that the broker reports for interactions that wait
//
// Broker, vendor and poller run in their own processes: this program starts itself in these roles. They listen on the
// loopback interface, and end with the program. docs/benchmarks.md has the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"statusworker/consumer"
)

func main() { os.Exit(exitCode()) }

// exitCode runs the benchmarks, or the role that the arguments name, and returns the exit code.
func exitCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || os.Args[1] != roleArgument {
		return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	// A role ends when its standard input is closed, at the latest when the parent process exits.
	if err := runRole(os.Args[2:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench %v: %v\n", os.Args[2:], err)
		return 1
	}
	return 0
}

// settings are the values of the flags.
type settings struct {
	only         string
	redelivery   string
	measured     time.Duration
	warmUp       time.Duration
	rounds       int
	interactions int
	concurrency  int
	few, many    int
	waiting      int
	fewDead      int
	manyDead     int
	rate         int
	fewDue       int
	manyDue      int
	inFlight     int
	outage       time.Duration

	backlogRounds int

	profiles string
}

// parts are the values of -only. The first one runs cpu and memory.
var parts = []string{
	"", "cpu", "memory", "dlq", "console", "backlog", "outage", "sizing", "batch", "interval", "waiting",
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.only, "only", "",
		"run only `cpu`, memory, dlq, console, backlog, outage, sizing, batch, interval or waiting; "+
			"by default cpu and memory")
	flags.StringVar(&s.redelivery, "redelivery", "", "cpu, sizing: `schedule` or nak; by default both")
	flags.DurationVar(&s.measured, "for", 3*time.Second, "how long each run is measured")
	flags.DurationVar(&s.warmUp, "warm-up", 1500*time.Millisecond, "how long each run lasts before it is measured")
	flags.IntVar(&s.rounds, "rounds", 6, "cpu, batch, console: runs of each poller, publisher or page")
	flags.IntVar(&s.interactions, "interactions", 0, "cpu: interactions; with 0, enough to keep polls due")
	flags.IntVar(&s.concurrency, "concurrency", 64, "concurrent polls")
	flags.IntVar(&s.few, "few", 1_000, "memory: interactions in flight in the first run")
	flags.IntVar(&s.many, "many", 200_000, "memory: interactions in flight in the second run")
	flags.IntVar(&s.waiting, "waiting", 50_000, "waiting: interactions in flight")
	flags.IntVar(&s.fewDead, "few-dead", 1_000, "dlq: dead letters in the first run")
	flags.IntVar(&s.manyDead, "many-dead", 100_000, "dlq, console: dead letters in the second run")
	flags.IntVar(&s.fewDue, "few-due", 10_000, "backlog: due interactions in the first run of each pair")
	flags.IntVar(&s.manyDue, "many-due", 300_000, "backlog: due interactions in the second run of each pair")
	flags.IntVar(&s.backlogRounds, "backlog-rounds", 10, "backlog: pairs of runs with each number of replicas")
	flags.IntVar(&s.inFlight, "in-flight", 100_000, "outage: interactions in flight")
	flags.DurationVar(&s.outage, "outage", 90*time.Second, "outage: how long the vendor fails")
	flags.IntVar(&s.rate, "rate", 2_500, "memory: polls per second in both runs")
	flags.StringVar(&s.profiles, "profiles", "",
		"cpu, backlog: write CPU and allocation profiles into this `directory`")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q; allowed: flags only", flags.Arg(0))
	}
	return s, s.check()
}

// check returns an error for the first flag that has an invalid value.
func (s settings) check() error {
	switch {
	case !slices.Contains(parts, s.only):
		return fmt.Errorf("invalid -only %q; allowed: %s", s.only, strings.Join(parts[1:], ", "))
	case !slices.Contains([]string{"", string(consumer.Schedule), string(consumer.Nak)}, s.redelivery):
		return fmt.Errorf("invalid -redelivery %q; allowed: schedule, nak", s.redelivery)
	case s.measured <= 0:
		return fmt.Errorf("invalid -for %v; must be more than 0", s.measured)
	case s.outage < outageInterval*3/2:
		return fmt.Errorf("invalid -outage %v; must be at least %v, so that all interactions fall due", s.outage,
			outageInterval*3/2)
	case s.warmUp < 0:
		return fmt.Errorf("invalid -warm-up %v; must not be negative", s.warmUp)
	}
	for _, f := range []struct {
		name       string
		value, min int
	}{
		{"rounds", s.rounds, 1}, {"interactions", s.interactions, 0}, {"concurrency", s.concurrency, 4},
		{"few", s.few, 1}, {"many", s.many, 1}, {"waiting", s.waiting, 1}, {"few-dead", s.fewDead, 1},
		{"many-dead", s.manyDead, 1}, {"rate", s.rate, 1},
		{"few-due", s.fewDue, 1}, {"many-due", s.manyDue, 1}, {"backlog-rounds", s.backlogRounds, 1},
		{"in-flight", s.inFlight, 1},
	} {
		if f.value < f.min {
			return fmt.Errorf("invalid -%s %d; must be at least %d", f.name, f.value, f.min)
		}
	}
	return nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 2
	}
	fmt.Fprintf(stdout, "%s, %d CPUs, %s\n", runtime.Version(), runtime.NumCPU(), processor())
	for _, part := range []struct {
		name    string
		always  bool
		measure func(context.Context, settings, io.Writer, io.Writer) error
	}{
		{"cpu", true, measureCPU}, {"memory", true, measureMemory}, {"dlq", false, measureDLQ},
		{"console", false, measureConsole},
		{"backlog", false, measureBacklog}, {"outage", false, measureOutage},
		{"sizing", false, measureSizing}, {"batch", false, measureBatch}, {"interval", false, measureIntervals},
		{"waiting", false, measureWaiting},
	} {
		if err == nil && (s.only == part.name || s.only == "" && part.always) {
			err = part.measure(ctx, s, stdout, stderr)
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}
