package main

import (
	"time"

	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/terminal"
	"statusworker/statusclient"
)

// logger writes to standard error: text on a terminal, JSON lines otherwise, unless the flags say which.
func (f logFlags) logger(p process) (*logrus.Logger, error) {
	level, err := logrus.ParseLevel(f.LogLevel)
	if err != nil {
		return nil, badFlag("log-level", "STATUSWORKER_LOG_LEVEL", f.LogLevel, "trace, debug, info, warn or error")
	}
	l := logrus.New()
	p.standard.To(l)
	l.SetOutput(p.stderr)
	l.SetLevel(level)
	if f.LogFormat == "text" || f.LogFormat == "auto" && terminal.Is(p.stderr) {
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, ForceColors: terminal.Paints(p.stderr, p.getenv), DisableColors: !terminal.Paints(p.stderr, p.getenv)})
	} else {
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	}
	return l, nil
}

// readable opens and closes a file, to say now what would go wrong later, or what would be waited for.
func readable(path string) error {
	f, err := statusclient.OpenFile(path)
	if err != nil {
		return err
	}
	return f.Close()
}
