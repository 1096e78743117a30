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

func TestComplaints(t *testing.T) {
	log, hook := captureLog()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w := &Worker{log: log}
	w.complaints.now = func() time.Time { return now }
	problem := errors.New("no responders")
	wantLine := func(kind string, times int) {
		t.Helper()
		e := hook.LastEntry()
		if e == nil || e.Level != logrus.WarnLevel || e.Data["what"] != kind || e.Data["times"] != times ||
			e.Data[logrus.ErrorKey] != problem {
			t.Fatalf("logged %+v, want one warning of %d times %q", e, times, kind)
		}
		hook.Reset()
	}
	wantNothing := func(why string) {
		t.Helper()
		if e := hook.LastEntry(); e != nil {
			t.Fatalf("%s: logged %+v, want nothing", why, e)
		}
	}

	w.complain("pull", problem)
	wantLine("pull", 1)
	for range 500 {
		w.complain("pull", problem)
	}
	now = now.Add(complainEvery - 1)
	w.complain("pull", problem)
	wantNothing("within the half minute")

	w.complain("clock", problem) // another kind has a time of its own
	wantLine("clock", 1)

	now = now.Add(1)
	w.complain("pull", problem)
	wantLine("pull", 502)
	w.complain("pull", problem)
	wantNothing("at once after a line")
	now = now.Add(10 * complainEvery)
	w.complain("pull", problem)
	wantLine("pull", 2)
}

func TestComplaintsFromManyGoroutines(t *testing.T) {
	log, hook := captureLog()
	w := &Worker{log: log}
	w.complaints.now = time.Now
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() { w.complain(fmt.Sprint("kind ", i%4), errors.New("no responders")) })
	}
	all.Wait()
	if n := len(hook.AllEntries()); n != 4 {
		t.Errorf("16 complaints of 4 kinds were logged %d times, want 4", n)
	}
}

func TestUnknownStatusIsNewOnce(t *testing.T) {
	var u unknownStatus
	for i := range maxUnknownStatus {
		s := schema.Status(fmt.Sprint("status ", i))
		if !u.first(s) || u.first(s) {
			t.Fatalf("%s is not new exactly once", s)
		}
	}
	if u.first("one too many") || len(u.seen) != maxUnknownStatus {
		t.Errorf("%d values are remembered, want no more than %d", len(u.seen), maxUnknownStatus)
	}
}

// captureLog keeps what is logged.
func captureLog() (*logrus.Logger, *logtest.Hook) {
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	return log, hook
}
