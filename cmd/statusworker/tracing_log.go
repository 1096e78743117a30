package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/sirupsen/logrus"
)

// otelLog takes OpenTelemetry's own log lines into the worker's log.
type otelLog struct {
	log     logrus.FieldLogger
	secrets secrets
}

// otelWarns is the verbosity up to which OpenTelemetry warns; beyond it, it tells what it does.
const otelWarns = 1

// Init is for logr, as all that follows.
func (otelLog) Init(logr.RuntimeInfo) {}

// Enabled leaves it to the log's own level.
func (otelLog) Enabled(int) bool { return true }

// Info logs a warning, or what is for debugging.
func (l otelLog) Info(verbosity int, message string, pairs ...any) {
	log := l.with(pairs)
	if verbosity <= otelWarns {
		log.log.Warn(log.text(message))
		return
	}
	log.log.Debug(log.text(message))
}

// Error logs trouble, which is not the worker's: it works without traces.
func (l otelLog) Error(err error, message string, pairs ...any) {
	log := l.with(pairs)
	if broken := (*url.Error)(nil); errors.As(err, &broken) {
		err = broken.Err // a URL may hold a password
	}
	if err != nil {
		log.log = log.log.WithError(l.secrets.outOf(err))
	}
	log.log.Warn(log.text(message))
}

// WithValues adds fields.
func (l otelLog) WithValues(pairs ...any) logr.LogSink { return l.with(pairs) }

// WithName adds nothing: the message says whose it is.
func (l otelLog) WithName(string) logr.LogSink { return l }

func (l otelLog) text(message string) string {
	return "OpenTelemetry: " + l.secrets.outOfText(message)
}

// with leaves out values of variables as they were given: they may hold a secret.
func (l otelLog) with(pairs []any) otelLog {
	fields := logrus.Fields{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, value := fmt.Sprint(pairs[i]), pairs[i+1]
		if name == "input" || name == "value" {
			continue
		}
		if m, ok := value.(logr.Marshaler); ok {
			value = m.MarshalLog()
		}
		fields[name] = l.secrets.outOfText(fmt.Sprint(value))
	}
	l.log = l.log.WithFields(fields)
	return l
}

// secrets are texts that no log line shows, the longest first.
type secrets []string

// leastSecret is how long one must be: a shorter text is found anywhere.
const leastSecret = 4

// headerSecrets are the values of the headers for the receiver, which may repeat them: whole, and without a scheme before them
// such as Bearer.
func headerSecrets(getenv otelVariables) secrets {
	var all secrets
	for _, name := range headerVariables {
		for pair := range strings.SplitSeq(getenv(name), ",") {
			_, value, err := header(pair)
			if err != nil {
				continue // see checkHeaders
			}
			_, encoded, _ := strings.Cut(pair, "=")
			all = append(all, value, strings.TrimSpace(encoded))
			if words := strings.Fields(value); len(words) > 1 {
				all = append(all, words[1:]...)
			}
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return len(s) < leastSecret })
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return slices.Compact(all)
}

func (s secrets) outOfText(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

func (s secrets) outOf(err error) error { return errors.New(s.outOfText(err.Error())) }
