package consumer

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"statusworker/schema"
)

func TestWarnings(t *testing.T) {
	log, hook := captureLog()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w := &Worker{log: log}
	w.warnings.now = func() time.Time { return now }
	problem := errors.New("no responders")
	wantLine := func(operation string, failures int) {
		t.Helper()
		e := hook.LastEntry()
		if e == nil || e.Level != logrus.WarnLevel || e.Data["operation"] != operation ||
			e.Data["failures"] != failures || e.Data[logrus.ErrorKey] == nil {
			t.Fatalf("logged %+v, want one warning of %d failures of %q", e, failures, operation)
		}
		hook.Reset()
	}
	wantNothing := func(when string) {
		t.Helper()
		if e := hook.LastEntry(); e != nil {
			t.Fatalf("%s: logged %+v, want nothing", when, e)
		}
	}

	w.warn("pull", problem)
	wantLine("pull", 1)
	for range 500 {
		w.warn("pull", problem)
	}
	now = now.Add(warnEvery - 1)
	w.warn("pull", problem)
	wantNothing("within the half minute")

	w.warn("clock", problem) // each operation has a limit of its own
	wantLine("clock", 1)

	now = now.Add(1)
	w.warn("pull", problem)
	wantLine("pull", 502)
	w.warn("pull", problem)
	wantNothing("directly after a warning")
	now = now.Add(10 * warnEvery)
	w.warn("pull", problem)
	wantLine("pull", 2)
}

func TestWarningsFromManyGoroutines(t *testing.T) {
	log, hook := captureLog()
	w := &Worker{log: log}
	w.warnings.now = time.Now
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() { w.warn(fmt.Sprint("operation ", i%4), errors.New("no responders")) })
	}
	all.Wait()
	if n := len(hook.AllEntries()); n != 4 {
		t.Errorf("16 failures of 4 operations were logged %d times, want 4", n)
	}
}

func TestUnknownStatusIsNewOnce(t *testing.T) {
	var u unknownStatuses
	for i := range maxUnknownStatuses {
		s := schema.Status(fmt.Sprint("status ", i))
		if !u.first(s) || u.first(s) {
			t.Fatalf("%s is not new exactly once", s)
		}
	}
	if u.first("one too many") || len(u.seen) != maxUnknownStatuses {
		t.Errorf("%d statuses are remembered, want at most %d", len(u.seen), maxUnknownStatuses)
	}
}

// captureLog returns a logger and what it logs.
func captureLog() (*logrus.Logger, *logtest.Hook) {
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	return log, hook
}
