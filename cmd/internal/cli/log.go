package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/terminal"
	"statusworker/schema"
)

// LogFlags select the level and the format of the log.
type LogFlags struct {
	LogLevel  string `name:"log-level" var:"STATUSWORKER_LOG_LEVEL" default:"info" enum:"trace, debug, info, warn, error" help:"Lowest level that is logged: one of ${enum}."`
	LogFormat string `name:"log-format" var:"STATUSWORKER_LOG_FORMAT" default:"auto" enum:"auto, text, json" help:"Log format: one of ${enum}. auto is text on a terminal and JSON otherwise."`
}

// Logger returns a logger that writes to standard error.
func (f LogFlags) Logger(p Process) (*logrus.Logger, error) {
	level, err := logrus.ParseLevel(f.LogLevel)
	if err != nil {
		return nil, BadFlag(f, "log-level", f.LogLevel, "trace, debug, info, warn or error")
	}
	l := logrus.New()
	p.Standard.To(l)
	l.SetOutput(p.Stderr)
	l.SetLevel(level)
	if f.json(p) {
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano, DisableHTMLEscape: true})
	} else {
		l.SetFormatter(TextFormat{Time: time.RFC3339, Painted: terminal.Paints(p.Stderr, p.Getenv)})
	}
	return l, nil
}

// json reports whether the format is JSON.
func (f LogFlags) json(p Process) bool {
	return f.LogFormat == "json" || f.LogFormat == "auto" && !terminal.Is(p.Stderr)
}

// logFlagsOf returns the values of the log flags among the flags of a command. It reads them from the command line and
// the environment, so that it also finds them if another flag is wrong. A wrong value counts as unset. ok is false if
// the command has no log flags.
func logFlagsOf(p Process, flags []*kong.Flag) (f LogFlags, ok bool) {
	for _, flag := range flags {
		to := map[string]*string{"log-level": &f.LogLevel, "log-format": &f.LogFormat}[flag.Name]
		if to == nil {
			continue
		}
		*to, ok = flag.Default, true
		for _, value := range given(p, flag) {
			if slices.Contains(flag.EnumSlice(), Trimmed(value)) {
				*to = Trimmed(value)
			}
		}
	}
	return f, ok
}

// writeError writes the error of a command: as the last line of its log if that is in JSON, so that programs can parse
// every line, and otherwise for people.
func (g Program) writeError(p Process, flags []*kong.Flag, code int, err error) {
	if f, ok := logFlagsOf(p, flags); ok && f.json(p) {
		if log, failed := f.Logger(p); failed == nil {
			log.WithFields(logrus.Fields{logrus.ErrorKey: OneLine(err), "exit_code": code}).Error(msgFailed)
			return
		}
	}
	fmt.Fprintf(p.Stderr, "%s: %s\n", g.Name, OneLine(err))
}

// msgFailed is the message of the line with the error of a command.
const msgFailed = "command failed"

// TextFormat formats log lines for people: time, level, message, and the fields, separated by two spaces. Values are
// not quoted, and escaped quotation marks in them are shown plain: details quote the vendor's JSON. An entry is always
// one line. The JSON format is for programs.
type TextFormat struct {
	Time    string // layout
	Painted bool
}

// prose are the fields with long values. They come last.
var prose = []string{"advice", "detail", logrus.ErrorKey}

// Format implements [logrus.Formatter].
func (f TextFormat) Format(e *logrus.Entry) ([]byte, error) {
	var names, last []string
	for name := range e.Data {
		if slices.Contains(prose, name) {
			last = append(last, name)
		} else {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Sort(last)
	paint, faint := terminal.Plain, terminal.Plain
	if f.Painted {
		paint, faint = paintOf(e.Level), terminal.Faint
	}
	var b bytes.Buffer
	level := fmt.Sprintf("%-5s", strings.TrimSuffix(strings.ToUpper(e.Level.String()), "ING")) // WARN
	fmt.Fprintf(&b, "%s %s %s", faint.On(e.Time.Format(f.Time)), paint.On(level), schema.Printable(e.Message))
	for _, name := range append(names, last...) {
		value := strings.ReplaceAll(schema.Printable(fmt.Sprint(e.Data[name])), `\"`, `"`)
		if value == "" {
			value = `""`
		}
		fmt.Fprintf(&b, "  %s%s", faint.On(schema.Printable(name)+"="), value)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func paintOf(level logrus.Level) terminal.Paint {
	switch {
	case level <= logrus.ErrorLevel:
		return terminal.Red
	case level == logrus.WarnLevel:
		return terminal.Yellow
	case level == logrus.InfoLevel:
		return terminal.Green
	}
	return terminal.Faint
}
