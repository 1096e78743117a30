package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/alecthomas/kong"

	"statusworker/cmd/internal/mask"
	"statusworker/schema"
	"statusworker/schema/topology"
)

// commands is the whole command line.
type commands struct {
	Run       runCommand       `cmd:"" help:"Run a worker: take in declared messages, poll ElevateAI, publish outcomes."`
	Dev       devCommand       `cmd:"" help:"Run a demo in one process: an embedded broker, a simulated vendor and a worker."`
	Provision provisionCommand `cmd:"" help:"Create the streams and consumers, or list what differs."`
	Declare   declareCommand   `cmd:"" help:"Publish declared messages, from identifiers or from lines of JSON on standard input."`
	DLQ       dlqCommand       `cmd:"" name:"dlq" help:"List, show, replay and purge dead letters."`
	Status    statusCommand    `cmd:"" help:"Show what waits, recent outcomes, and the live workers."`
	Doctor    doctorCommand    `cmd:"" help:"Check everything that a worker with the same flags needs, and print how to fix what fails."`
	Simulator simulatorCommand `cmd:"" hidden:"" help:"Run a simulated vendor over https."`
	Schema    schemaCommand    `cmd:"" help:"Print a JSON Schema or the AsyncAPI document; without a name, list the documents."`
	Version   versionCommand   `cmd:"" help:"Print the version."`

	VersionFlag kong.VersionFlag `name:"version" hidden:"" help:"Print the version."`
}

// usageError is bad configuration or a bad command line: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// helped is panicked through kong when help was printed.
type helped int

// run parses the command line and runs one command. It returns the exit code, which is no success where something that
// was to be on standard output is not.
func run(ctx context.Context, p process) (code int) {
	if p.secrets == nil {
		p.secrets = &mask.Set{}
	}
	problems := mask.NewWriter(p.secrets, heedless{p.stderr})
	defer func() { _ = problems.Flush() }() // heedless gives no error
	out := &remembering{Writer: p.stdout}
	p.stdout, p.stderr = out, problems
	getenv := p.getenv
	p.getenv = func(name string) string { return trimmed(getenv(name)) } // so that a blank variable counts as unset
	defer func() {
		if code == exitOK && out.problem() != nil {
			p.failed(out, out.problem())
			code = exitFault
		}
	}()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case helped:
			code = int(r)
		default:
			panic(r)
		}
	}()
	var c commands
	parser, err := newParser(&c, p)
	if err != nil {
		say(p.stderr, "statusworker: %v", err)
		return exitFault
	}
	p.addSecrets(parser.Model)
	args := p.args
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err == nil {
		if hasSecrets(k.Flags()) { // other commands write nothing but their own text
			masked := mask.NewWriter(p.secrets, out)
			defer func() { _ = masked.Flush() }() // out remembers the error
			p.stdout = masked
		}
		p.warnOfUnknownVariables(k.Flags(), parser.Model)
		k.BindTo(ctx, (*context.Context)(nil))
		err = k.Run(p)
	} else if out.problem() == nil { // of the help, otherwise
		err = parseProblem(err)
	}
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		say(p.stderr, "statusworker: %s", oneLine(err))
		return exitUsage
	case errors.Is(err, errReported):
		return exitFault
	default:
		p.failed(out, err)
		return exitFault
	}
}

// failed writes why a command fails, except when the reader of its standard output is gone, as in `dlq ls | head`.
func (p process) failed(out *remembering, err error) {
	if errors.Is(err, syscall.EPIPE) && errors.Is(out.problem(), syscall.EPIPE) {
		return
	}
	say(p.stderr, "statusworker: %s", oneLine(err))
}

// errReported is a fault that the command has told already.
var errReported = errors.New("reported")

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func newParser(c *commands, p process) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("statusworker"),
		kong.Description("Asks ElevateAI for the status of declared interactions until it is terminal, and publishes what became of each."),
		kong.Writers(p.stdout, p.stderr),
		kong.Vars{"version": "statusworker " + versionString(), "min_servers": topology.MinServers},
		kong.Exit(func(code int) { panic(helped(code)) }),
		kong.Resolvers(environment(p.getenv)),
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

// These read values, so that a bad one is told like any other bad configuration.

func duration(ctx *kong.DecodeContext, target reflect.Value) error {
	return read(ctx, "a duration such as 30s, 5m, 24h or 14d", func(s string) error {
		d, err := schema.ParseDuration(s)
		target.SetInt(int64(d))
		return err
	})
}

func whole(ctx *kong.DecodeContext, target reflect.Value) error {
	return read(ctx, "a whole number", func(s string) error {
		n, err := strconv.ParseInt(s, 10, target.Type().Bits())
		target.SetInt(n)
		return err
	})
}

func number(ctx *kong.DecodeContext, target reflect.Value) error {
	return read(ctx, "a number", func(s string) error {
		f, err := strconv.ParseFloat(s, 64)
		target.SetFloat(f)
		return err
	})
}

func word(ctx *kong.DecodeContext, target reflect.Value) error {
	allowed := ctx.Value.EnumSlice()
	return read(ctx, "one of "+strings.Join(allowed, ", "), func(s string) error {
		target.SetString(s)
		if ctx.Value.Enum != "" && !slices.Contains(allowed, s) {
			return strconv.ErrRange
		}
		return nil
	})
}

// read takes the next value of the command line; where set refuses it, the error says what is wanted. White space around the value
// of a flag or a variable does not count: files and secrets end with a new line. Quotation marks around it are a mistake.
func read(ctx *kong.DecodeContext, want string, set func(string) error) error {
	bad := func(value string) error { return badFlag(ctx.Value.Name, ctx.Value.Tag.Get("var"), value, want) }
	token := ctx.Scan.Pop()
	// What begins with a dash is a flag, and no value, unless it is a negative number.
	if token.IsEOL() || !token.IsValue() && !negative(token.String()) {
		return usagef("%s has no value: want %s", flagName(ctx.Value.Name, ctx.Value.Tag.Get("var")), want)
	}
	value := token.String()
	if ctx.Value.Flag != nil {
		if value = trimmed(value); inQuotes(value) {
			return quotedValue(flagName(ctx.Value.Name, ctx.Value.Tag.Get("var")))
		}
	}
	if set(value) != nil {
		return bad(schema.Quote(value))
	}
	return nil
}

// trimmed is a value without the white space around it, and without what is as invisible: a byte order mark, a space of no width.
func trimmed(value string) string {
	return strings.TrimFunc(value, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' || r == '\u200B' })
}

// inQuotes reports whether a value has quotation marks around it, as if a shell read it.
func inQuotes(value string) bool {
	marks := []rune(value)
	if len(marks) < 2 {
		return false
	}
	switch first, last := marks[0], marks[len(marks)-1]; first {
	case '"', '\'', '`':
		return last == first
	case '\u201C', '\u201E': // “ and „
		return last == '\u201D' || last == '\u201C'
	case '\u2018', '\u201A': // ‘ and ‚
		return last == '\u2019' || last == '\u2018'
	case '\u00AB': // «
		return last == '\u00BB'
	}
	return false
}

// quotedValue does not show the value: it may be a secret.
func quotedValue(name string) error {
	return usagef("%s has quotation marks around its value: remove them; a shell takes them away, but an env file, a manifest and a secret keep them", name)
}

func negative(s string) bool {
	return len(s) > 1 && s[0] == '-' && (s[1] == '.' || '0' <= s[1] && s[1] <= '9')
}

// badFlag says in one line which flag and variable are wrong, with which value, and what is allowed.
func badFlag(flag, variable, value, want string) error {
	return usagef("%s is %s: want %s", flagName(flag, variable), value, want)
}

func flagName(flag, variable string) string {
	if variable == "" {
		return "--" + flag
	}
	return "--" + flag + " ($" + variable + ")"
}

func parseProblem(err error) error {
	var usage *usageError
	if errors.As(err, &usage) {
		return usage
	}
	return usagef("%w; see `%s --help`", err, commandOf(err))
}

// commandOf is the command whose flags or arguments are wrong, as far as it was given.
func commandOf(err error) string {
	var problem *kong.ParseError
	if errors.As(err, &problem) {
		for _, at := range slices.Backward(problem.Context.Path) {
			if at.Command != nil {
				return at.Command.FullPath()
			}
		}
	}
	return "statusworker"
}

type versionCommand struct{}

func (versionCommand) Run(p process) error {
	say(p.stdout, "statusworker %s", versionString())
	return nil
}

func versionString() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v == "(devel)" {
			v = s.Value
		}
	}
	return v
}

type schemaCommand struct {
	Name *string `arg:"" optional:"" help:"Name of the document to print, in any case, with or without its extension."`
}

func (c schemaCommand) Run(p process) error {
	if c.Name == nil {
		for _, name := range schema.Documents() {
			say(p.stdout, "%s", name)
		}
		return nil
	}
	doc, err := schema.Document(*c.Name)
	if err != nil {
		return &usageError{err}
	}
	_, err = p.stdout.Write(doc)
	return err
}
