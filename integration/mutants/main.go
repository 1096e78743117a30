// Command mutants checks that random histories (package integration/explore) notice when a defence is missing. Each
// mutant is a small edit of the production code that removes one defence. The program copies the module, applies one
// edit at a time to the copy, and runs histories until one breaks an invariant. It fails if a mutant survives, or if an
// edit does not apply any more.
//
//	go run ./integration/mutants              all mutants
//	go run ./integration/mutants -only NAME   one of them; names are separated by commas
//	go run ./integration/mutants -l           lists them
//
// docs/reliability.md has the results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() { os.Exit(exitCode()) }

func exitCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintf(os.Stderr, "mutants: %v\n", err)
	return 1
}

// errUsage means that the flags are wrong, which has been reported.
var errUsage = errors.New("invalid flags")

// limits are how many histories show that a mutant survives.
type limits struct {
	seeds, histories int
}

// seedsApart is the difference between the first seeds of two runs.
const seedsApart = 1000

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "run only the mutants with these names, separated by commas")
	list := flags.Bool("l", false, "list the mutants, and run none")
	verbose := flags.Bool("v", false, "print what each run has found")
	var l limits
	flags.IntVar(&l.seeds, "seeds", 10, "number of runs of a mutant; each begins with another seed")
	flags.IntVar(&l.histories, "histories", 1000, "maximum number of histories of a run")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if l.seeds < 1 || l.histories < 1 || l.histories > seedsApart {
		return fmt.Errorf("-seeds is %d and -histories is %d; -seeds must be at least 1, -histories 1 to %d", l.seeds,
			l.histories, seedsApart)
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if *list {
		for _, m := range chosen {
			fmt.Fprintf(stdout, "%-22s %s\n", m.name, m.removes)
		}
		return nil
	}
	log := io.Discard
	if *verbose {
		log = stderr
	}
	return runAll(ctx, chosen, l, stdout, log)
}

// choose returns the mutants with these names, or all if there are none.
func choose(names string) (chosen []mutant, err error) {
	if names == "" {
		return mutants, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		n := slices.IndexFunc(mutants, func(m mutant) bool { return m.name == name })
		if n < 0 {
			return nil, fmt.Errorf("no mutant is named %q; -l lists the names", name)
		}
		chosen = append(chosen, mutants[n])
	}
	return chosen, nil
}

// runAll runs mutants, and prints a row of the table for each.
func runAll(ctx context.Context, chosen []mutant, l limits, stdout, log io.Writer) error {
	c, err := newCopy(ctx)
	if err != nil {
		return fmt.Errorf("copying the module: %w", err)
	}
	defer c.remove()
	fmt.Fprint(stdout, "| mutant | without | broken | histories |\n|---|---|---|---|\n")
	var survivors []string
	var errs []error
	for _, m := range chosen {
		r, err := runMutant(ctx, c, m, l, log)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("mutant %s: %w", m.name, err))
			continue
		}
		fmt.Fprintf(stdout, "| `%s` | %s | %s | %s |\n", m.name, m.removes, r.broken(), r.median())
		if r.survived() {
			survivors = append(survivors, fmt.Sprintf("%s (in %d of %d runs)", m.name, r.survivals, l.seeds))
		}
	}
	if len(survivors) > 0 {
		errs = append(errs, fmt.Errorf("no history shows: %s; extend integration/explore, or raise -histories",
			strings.Join(survivors, ", ")))
	}
	return errors.Join(errs...)
}
