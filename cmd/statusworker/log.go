package main

import (
	"io"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/term"

	"statusworker/statusclient"
)

// logger writes to w: text on a terminal, JSON lines otherwise, unless the flags say which.
func (f logFlags) logger(w io.Writer) (*logrus.Logger, error) {
	level, err := logrus.ParseLevel(f.LogLevel)
	if err != nil {
		return nil, badFlag("log-level", "STATUSWORKER_LOG_LEVEL", f.LogLevel, "trace, debug, info, warn or error")
	}
	l := logrus.New()
	l.SetOutput(w)
	l.SetLevel(level)
	if f.LogFormat == "text" || f.LogFormat == "auto" && terminal(w) {
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, DisableColors: !terminal(w)})
	} else {
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	}
	return l, nil
}

// terminal tells whether w is one.
func terminal(w any) bool {
	f, ok := file(w)
	return ok && term.IsTerminal(int(f.Fd()))
}

// file is the one that w writes to or reads from.
func file(w any) (*os.File, bool) {
	if r, ok := w.(*remembering); ok {
		w = r.Writer
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
