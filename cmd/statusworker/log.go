package main

import (
	"io"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/term"

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
	if f.LogFormat == "text" || f.LogFormat == "auto" && terminal(p.stderr) {
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, ForceColors: p.paints(p.stderr), DisableColors: !p.paints(p.stderr)})
	} else {
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	}
	return l, nil
}

// paints tells whether there may be colours in what is written to w.
func (p process) paints(w io.Writer) bool {
	return terminal(w) && p.getenv("NO_COLOR") == "" && p.getenv("TERM") != "dumb"
}

// terminal tells whether w is one.
func terminal(w any) bool {
	f, ok := file(w)
	return ok && term.IsTerminal(int(f.Fd()))
}

// file is the one that w writes to or reads from.
func file(w any) (*os.File, bool) {
	for {
		around, ok := w.(interface{ Unwrap() io.Writer })
		if !ok {
			break
		}
		w = around.Unwrap()
	}
	f, ok := w.(*os.File)
	return f, ok
}

// readable opens and closes a file, to say now what would go wrong later, or what would be waited for.
func readable(path string) error {
	f, err := statusclient.OpenFile(path)
	if err != nil {
		return err
	}
	return f.Close()
}
