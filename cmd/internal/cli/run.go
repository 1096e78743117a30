// Package cli reads flags, environment variables and the configuration file, runs one command, and maps its error to an
// exit code. It masks secrets in the command's output.
package cli

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"statusworker/cmd/internal/mask"
	"statusworker/schema"
)

// Exit codes.
const (
	ExitOK    = 0
	ExitFault = 1
	ExitUsage = 2
)

// Program describes a command line.
type Program struct {
	Name, Description, Version string
	// Grammar is a pointer to a struct of commands for package kong. The Run method of a command may take a
	// [context.Context] and a [Process].
	Grammar any
	// Vars replace `${name}` in help texts.
	Vars map[string]string
	// Secrets returns the secrets in variables without a flag. It may be nil.
	Secrets func(getenv func(string) string) []string
}

// printedHelp is the panic by which kong stops parsing after it has printed help. Its value is the exit code.
type printedHelp int

// Run parses the command line and runs one command. It returns the exit code: [ExitFault] also if a write to standard
// output failed. Run has already written the error, which it returns for callers in the same process.
func (g Program) Run(ctx context.Context, p Process) (int, error) {
	p.Secrets, p.file = &mask.Set{}, &file{}
	stderr := mask.NewWriter(p.Secrets, heedless{p.Stderr})
	defer func() { _ = stderr.Flush() }() // heedless returns no errors
	out := &remembering{Writer: p.Stdout}
	p.Stdout, p.Stderr = out, stderr
	getenv := p.Getenv
	p.Getenv = func(name string) string { return Trimmed(getenv(name)) } // a blank variable counts as unset
	flags, code, err := g.execute(ctx, p, out)
	if code == ExitOK && out.firstError() != nil {
		code, err = ExitFault, out.firstError()
	}
	// `dlq ls | head` closes the pipe early: that needs no message.
	closedPipe := errors.Is(err, syscall.EPIPE) && errors.Is(out.firstError(), syscall.EPIPE)
	if err != nil && !errors.Is(err, ErrReported) && !closedPipe {
		g.writeError(p, flags, code, err)
	}
	return code, err
}

// execute runs one command. It returns the flags of the command, as far as it was parsed, and does not write the error.
func (g Program) execute(
	ctx context.Context, p Process, out *remembering,
) (flags []*kong.Flag, code int, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case printedHelp:
			code, err = int(r), nil
		default:
			panic(r)
		}
	}()
	parser, err := g.Parser(p)
	if err != nil {
		return nil, ExitFault, err
	}
	g.addSecrets(p, parser.Model)
	k, err := parser.Parse(p.Args)
	var problem *kong.ParseError
	if errors.As(err, &problem) && problem.Context != nil {
		flags = problem.Context.Flags()
	}
	switch {
	case err != nil && out.firstError() != nil: // the help could not be written
		return flags, ExitFault, err
	case err != nil:
		return flags, ExitUsage, g.parseProblem(p, err)
	}
	flags = k.Flags()
	if hasSecrets(flags) { // the output of other commands cannot contain a secret
		masked := mask.NewWriter(p.Secrets, out)
		defer func() { _ = masked.Flush() }() // out keeps the error
		p.Stdout = masked
	}
	warnOfUnknownVariables(p, flags, parser.Model)
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run(p)
	p.locate(k, err)
	switch {
	case err == nil:
		return flags, ExitOK, nil
	case errors.As(err, new(*UsageError)):
		return flags, ExitUsage, err
	}
	return flags, ExitFault, err
}

// Parser returns the kong parser for a process.
func (g Program) Parser(p Process) (*kong.Kong, error) {
	if p.file == nil {
		p.file = &file{}
	}
	return newParser(g.Grammar, g.Name+" "+g.Version, g.Vars,
		kong.Name(g.Name),
		kong.Description(g.Description),
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(code int) { panic(printedHelp(code)) }),
		kong.Bind(p), // for the hooks of flags
		kong.Resolvers(g.fileResolver(p), environment(p.Getenv)), // the last one takes precedence
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)),
		kong.TypeMapper(reflect.TypeFor[schema.Namespace](), kong.MapperFunc(namespace)),
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

// environment resolves each flag from the variable that its tag `var` names. An empty variable counts as unset.
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

// parseProblem returns a [UsageError] for a parse error. If there is no command, it first writes the help to standard
// error.
func (g Program) parseProblem(p Process, err error) error {
	if without := withoutCommand(p.Args, err); without != nil {
		without.Stdout = p.Stderr
		_ = without.PrintUsage(false) // the error follows in any case
		return Usagef("no command is given: must be one of those listed above")
	}
	var usage *UsageError
	if errors.As(err, &usage) {
		return usage
	}
	return Usagef("%w; see `%s --help`", err, g.commandOf(err))
}

// withoutCommand returns the parse of arguments that end where a command must follow, such as `dlq`, and nil for all
// others.
func withoutCommand(args []string, err error) *kong.Context {
	var problem *kong.ParseError
	if !errors.As(err, &problem) || problem.Context == nil {
		return nil
	}
	node, commands := problem.Context.Model.Node, 0
	for _, at := range problem.Context.Path {
		if at.Command != nil {
			node = at.Command
			commands++
		}
	}
	if commands != len(args) || node.Leaf() {
		return nil
	}
	return problem.Context
}

// commandOf returns the command whose flags or arguments are wrong, as far as it was parsed.
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
