// Command bench measures what a poll costs: the CPU of the stage against a bare loop that does the least that a poller
// can do, and the worker's memory with few and with many interactions in flight.
//
//	go run ./integration/bench              both, about nine minutes
//	go run ./integration/bench -only cpu
//	go run ./integration/bench -only memory
//	go run ./integration/bench -only dlq      what few and many dead letters take
//	go run ./integration/bench -only sizing    what steady loads cost, with one replica and with three; six minutes
//	go run ./integration/bench -only waiting   what the broker says of interactions that merely wait
//
// Broker, vendor and poller are processes of their own: this program starts itself again in those roles. Everything
// listens on the loopback interface, and is gone when the program ends, however it ends. docs/benchmarks.md has the
// figures.
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
	"syscall"
	"time"

	"statusworker/consumer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == roleArgument {
		// A role ends when its standard input does, and that is when the parent is gone.
		if err := runRole(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "bench %v: %v\n", os.Args[2:], err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are what the command line sets.
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
	profiles     string
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.only, "only", "", "`cpu`, memory, dlq, sizing or waiting; cpu and memory where it is empty")
	flags.StringVar(&s.redelivery, "redelivery", "", "cpu: `schedule` or nak; both where it is empty")
	flags.DurationVar(&s.measured, "for", 3*time.Second, "how long each run is measured")
	flags.DurationVar(&s.warmUp, "warm-up", 1500*time.Millisecond, "how long each run goes on before it is measured")
	flags.IntVar(&s.rounds, "rounds", 6, "cpu: how often each poller is run")
	flags.IntVar(
		&s.interactions,
		"interactions",
		0,
		"cpu: how many interactions there are; 0 is enough to keep polls due",
	)
	flags.IntVar(&s.concurrency, "concurrency", 64, "polls at a time")
	flags.IntVar(&s.few, "few", 1_000, "memory: interactions in flight in the first run")
	flags.IntVar(&s.many, "many", 200_000, "memory: interactions in flight in the second run")
	flags.IntVar(&s.waiting, "waiting", 50_000, "waiting: how many interactions wait")
	flags.IntVar(&s.fewDead, "few-dead", 1_000, "dlq: dead letters in the first run")
	flags.IntVar(&s.manyDead, "many-dead", 100_000, "dlq: dead letters in the second run")
	flags.IntVar(&s.rate, "rate", 2_500, "memory: polls a second in both runs")
	flags.StringVar(
		&s.profiles,
		"profiles",
		"",
		"cpu: write profiles (CPU, allocations) of poller and broker into this `folder`",
	)
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("%q: want flags only", flags.Arg(0))
	case !slices.Contains([]string{"", "cpu", "memory", "dlq", "sizing", "waiting"}, s.only):
		return s, fmt.Errorf("-only is %q: want cpu, memory, dlq, sizing or waiting", s.only)
	case s.redelivery != "" && s.redelivery != string(consumer.Schedule) && s.redelivery != string(consumer.Nak):
		return s, fmt.Errorf("-redelivery is %q: want schedule or nak", s.redelivery)
	case s.measured <= 0 || s.warmUp < 0:
		return s, errors.New("-for and -warm-up: want durations that are not negative")
	case s.rounds < 1 || s.concurrency < 4 || s.few < 1 || s.many < 1 || s.waiting < 1 || s.fewDead < 1 || s.manyDead < 1 || s.rate < 1 || s.interactions < 0:
		return s, errors.New("-rounds, -few, -many and -rate want at least 1, -concurrency at least 4")
	}
	return s, nil
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
		{"cpu", true, measureCPU}, {"memory", true, measureMemory}, {"dlq", false, measureDLQ}, {"sizing", false, measureSizing}, {"waiting", false, measureWaiting},
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
