package logbridge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/sirupsen/logrus"

	"statusworker/cmd/internal/logbridge"
)

// bridged returns a logger, and its records decoded from JSON.
func bridged(level logrus.Level) (*logrus.Logger, func() []map[string]any) {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	log.SetLevel(level)
	log.SetFormatter(&logrus.JSONFormatter{})
	return log, func() (records []map[string]any) {
		for line := range strings.Lines(out.String()) {
			record := map[string]any{}
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				record["broken"] = line
			}
			delete(record, "time")
			records = append(records, record)
		}
		return records
	}
}

func TestLevelsAndFields(t *testing.T) {
	log, records := bridged(logrus.DebugLevel)
	own := slog.New(logbridge.New(log, "go", slog.LevelWarn))
	own.With("a", 1).WithGroup("g").Warn("first\n", "b", "x", slog.Group("h", "c", true), "err", errors.New("broken"))
	own.Info("second")
	otel := logr.FromSlogHandler(logbridge.New(log, "OpenTelemetry", -1))
	otel.V(1).Info("third", "d", marshaled{})
	otel.V(4).Info("fourth")
	otel.Error(errors.New("broken"), "fifth")
	want := []map[string]any{
		{"level": "warning", "msg": "first", "source": "go", "a": "1", "g.b": "x", "g.h.c": "true", "g.err": "broken"},
		{"level": "debug", "msg": "second", "source": "go"},
		{"level": "warning", "msg": "third", "source": "OpenTelemetry", "d": "marshaled"},
		{"level": "debug", "msg": "fourth", "source": "OpenTelemetry"},
		{"level": "warning", "msg": "fifth", "source": "OpenTelemetry", "error": "broken"},
	}
	if have := records(); fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("the log has\n%v, want\n%v", have, want)
	}
}

type marshaled struct{}

func (marshaled) MarshalLog() any { return "marshaled" }

// Data from a peer is quoted, and removed, even with quotes in it.
func TestQuotationsAreRemoved(t *testing.T) {
	log, records := bridged(logrus.InfoLevel)
	own := slog.New(logbridge.New(log, "go", slog.LevelWarn))
	own.Warn(fmt.Sprintf("received %q; err=%v", "a \"sec\\\" ret\n", nil))
	if have := records(); len(have) != 1 || have[0]["msg"] != `received "(withheld)"; err=<nil>` {
		t.Errorf("the log has %v", have)
	}
}

// One line of a kind is logged every five minutes, with the number of suppressed lines.
func TestLinesOfOneKindAreSuppressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, records := bridged(logrus.InfoLevel)
		own := slog.New(logbridge.New(log, "go", slog.LevelWarn))
		for n := range 100 {
			own.Warn(fmt.Sprintf("handshake with 127.0.0.1:%d: %q", n, strings.Repeat("x", n)))
			own.Debug("is not logged")
		}
		own.Warn("something else")
		time.Sleep(logbridge.Every)
		own.Warn(`handshake with 127.0.0.1:7: ""`)
		have := records()
		if len(have) != 3 || have[1]["msg"] != "something else" || have[2]["suppressed"] != 99.0 {
			t.Errorf("the log has %v", have)
		}
		// Memory is bounded: after many kinds, the first one is forgotten and logged again.
		own.Warn("the first of many kinds")
		for n := range 1000 {
			own.Warn(strings.Repeat("x", n))
		}
		own.Warn("the first of many kinds")
		again := 0
		for _, r := range records() {
			if r["msg"] == "the first of many kinds" {
				again++
			}
		}
		if again != 2 {
			t.Errorf("a line is logged %d times, 1000 kinds apart, want 2", again)
		}
	})
}

// A Bridge without a log drops lines. A nil Bridge ignores a log.
func TestWithoutALog(t *testing.T) {
	b := logbridge.New(nil, "go", slog.LevelWarn)
	slog.New(b).Error("dropped")
	log, records := bridged(logrus.InfoLevel)
	b.To(log)
	slog.New(b).Error("kept")
	if have := records(); len(have) != 1 || have[0]["msg"] != "kept" {
		t.Errorf("the log has %v", have)
	}
	(*logbridge.Bridge)(nil).To(log)
}
