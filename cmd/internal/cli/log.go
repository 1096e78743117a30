package cli

import (
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/terminal"
)

// LogFlags say how to log.
type LogFlags struct {
	LogLevel  string `name:"log-level" var:"STATUSWORKER_LOG_LEVEL" default:"info" enum:"trace,debug,info,warn,error" help:"Lowest level that is logged: one of ${enum}."`
	LogFormat string `name:"log-format" var:"STATUSWORKER_LOG_FORMAT" default:"auto" enum:"auto,text,json" help:"Log format: one of ${enum}. auto is text on a terminal and JSON otherwise."`
}

// Logger writes to standard error: text on a terminal, JSON lines otherwise, unless the flags say which.
func (f LogFlags) Logger(p Process) (*logrus.Logger, error) {
	level, err := logrus.ParseLevel(f.LogLevel)
	if err != nil {
		return nil, BadFlag(f, "log-level", f.LogLevel, "trace, debug, info, warn or error")
	}
	l := logrus.New()
	p.Standard.To(l)
	l.SetOutput(p.Stderr)
	l.SetLevel(level)
	if f.LogFormat == "text" || f.LogFormat == "auto" && terminal.Is(p.Stderr) {
		paints := terminal.Paints(p.Stderr, p.Getenv)
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, ForceColors: paints, DisableColors: !paints})
	} else {
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	}
	return l, nil
}
