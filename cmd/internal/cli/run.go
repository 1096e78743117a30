// Package cli is the machinery of the command line: it reads flags and variables, runs one command, and turns what
// comes of it into an exit code. It keeps secrets out of what a command writes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"statusworker/cmd/internal/mask"
)

// Exit codes.
const (
	ExitOK    = 0
	ExitFault = 1
	ExitUsage = 2
)

// Program is a command line.
type Program struct {
	Name, Description, Version string
	// Grammar is a pointer to a struct of commands, as package kong reads it. A command has a method Run, which may
	// take a [context.Context] and a [Process].
	Grammar any
	// Vars are for the texts of help.
	Vars map[string]string
	// Secrets gives the secrets in variables that are no flags. It may be nil.
	Secrets func(getenv func(string) string) []string
}

// helped is panicked through kong when help was printed.
type helped int

// Run parses the command line and runs one command. It returns the exit code, which is no success where something that
// was to be on standard output is not. It has written the error already, which is for callers in the same process.
func (g Program) Run(ctx context.Context, p Process) (code int, err error) {
	p.Secrets = &mask.Set{}
	problems := mask.NewWriter(p.Secrets, heedless{p.Stderr})
	defer func() { _ = problems.Flush() }() // heedless gives no error
	out := &remembering{Writer: p.Stdout}
	p.Stdout, p.Stderr = out, problems
	getenv := p.Getenv
	p.Getenv = func(name string) string { return Trimmed(getenv(name)) } // so that a blank variable counts as unset
	code, err = g.execute(ctx, p, out)
	if code == ExitOK && out.problem() != nil {
		code, err = ExitFault, out.problem()
	}
	// Nothing is written when the reader of standard output is gone, as in `dlq ls | head`.
	gone := errors.Is(err, syscall.EPIPE) && errors.Is(out.problem(), syscall.EPIPE)
	if err != nil && !errors.Is(err, ErrReported) && !gone {
		fmt.Fprintf(p.Stderr, "%s: %s\n", g.Name, OneLine(err))
	}
	return code, err
}

// execute runs one command. It writes no error.
func (g Program) execute(ctx context.Context, p Process, out *remembering) (code int, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case helped:
			code, err = int(r), nil
		default:
			panic(r)
		}
	}()
	parser, err := g.Parser(p)
	if err != nil {
		return ExitFault, err
	}
	g.addSecrets(p, parser.Model)
	args := p.Args
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	switch {
	case err != nil && out.problem() != nil: // it is of the help
		return ExitFault, err
	case err != nil:
		return ExitUsage, g.parseProblem(err)
	}
	if hasSecrets(k.Flags()) { // other commands write nothing but their own text
		masked := mask.NewWriter(p.Secrets, out)
		defer func() { _ = masked.Flush() }() // out remembers the error
		p.Stdout = masked
	}
	warnOfUnknownVariables(p, k.Flags(), parser.Model)
	k.BindTo(ctx, (*context.Context)(nil))
	switch err = k.Run(p); {
	case err == nil:
		return ExitOK, nil
	case errors.As(err, new(*UsageError)):
		return ExitUsage, err
	}
	return ExitFault, err
}

// Parser reads the command line for a process.
func (g Program) Parser(p Process) (*kong.Kong, error) {
	return kong.New(g.Grammar,
		kong.Name(g.Name),
		kong.Description(g.Description),
		kong.Writers(p.Stdout, p.Stderr),
		kong.Vars{"version": g.Name + " " + g.Version}.CloneWith(g.Vars),
		kong.Exit(func(code int) { panic(helped(code)) }),
		kong.Resolvers(environment(p.Getenv)),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)),
		kong.KindMapper(reflect.String, kong.MapperFunc(word)),
		kong.KindMapper(reflect.Int, kong.MapperFunc(whole)),
		kong.KindMapper(reflect.Int64, kong.MapperFunc(whole)),
		kong.KindMapper(reflect.Float64, kong.MapperFunc(number)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.ValueFormatter(func(v *kong.Value) string {
			if name := v.Tag.Get("var"); name != "" {
				return v.Help + " [$" + name + "]"
			}
			return v.Help
		}),
	)
}

// environment gives each flag the variable that its tag `var` names. An empty variable counts as unset.
func environment(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		name := flag.Tag.Get("var")
		if name == "" {
			return nil, nil
		}
		if value := getenv(name); value != "" {
			return value, nil
		}
		return nil, nil
	})
}

func (g Program) parseProblem(err error) error {
	var usage *UsageError
	if errors.As(err, &usage) {
		return usage
	}
	return Usagef("%w; see `%s --help`", err, g.commandOf(err))
}

// commandOf is the command whose flags or arguments are wrong, as far as it was given.
func (g Program) commandOf(err error) string {
	var problem *kong.ParseError
	if errors.As(err, &problem) {
		for _, at := range slices.Backward(problem.Context.Path) {
			if at.Command != nil {
				return at.Command.FullPath()
			}
		}
	}
	return g.Name
}
