package integration

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"statusworker/integration/harness"
	"statusworker/schema"
)

// finish waits for everything expected and until nothing is left in the streams, ends the workers in an orderly way,
// and prints the figures. What is lost, doubled or early fails the test.
func (s *scenario) finish() {
	s.t.Helper()
	awaited := s.oracle.Await(s.ctx, s.want)
	if awaited != nil {
		s.t.Error(awaited)
	} else if err := harness.AwaitDrained(s.ctx, s.js); err != nil {
		s.t.Error(err)
	}
	s.stop()
	ctx := s.ctx
	if ctx.Err() != nil {
		ctx = harness.Context(s.t, 10*time.Second) // time is up, but what is there is worth telling
	}
	report, err := s.oracle.Report(ctx, s.want)
	harness.Check(s.t, err)
	if err := report.Err(); err != nil {
		s.t.Error(err)
	}
	f := harness.Figures{
		Scenario: s.name, Interactions: len(s.types), Polls: s.vendor.Count(),
		Outcomes: report.Outcomes, Duplicates: len(report.Duplicates), Lost: len(report.Lost),
	}
	f.MinGap, f.Interval = s.leastGap()
	f.Print(s.t)
	early := s.early()
	if s.mayBeEarly > 0 {
		note(s.t, "scenario=%s early=%d in_flight_at_kills=%d", s.name, len(early), s.mayBeEarly)
	}
	if len(early) > s.mayBeEarly {
		s.t.Errorf(
			"%d polls came too early, want at most %d: %s",
			len(early),
			s.mayBeEarly,
			strings.Join(early[:min(len(early), 10)], "; "),
		)
	}
}

// stop ends the workers that still run, and wants them to leave in an orderly way.
func (s *scenario) stop() {
	s.t.Helper()
	for _, w := range s.workers {
		select {
		case <-w.Done():
			continue
		default:
		}
		harness.Check(s.t, w.Term())
		ctx := harness.Context(s.t, 25*time.Second)
		if code, err := w.Wait(ctx); err != nil || code != 0 {
			s.t.Errorf("a worker left with exit code %d (%v), want 0", code, err)
		}
	}
}

// leastGap is the least time between two polls of one interaction, of the type that came closest to its guidance.
func (s *scenario) leastGap() (gap, interval time.Duration) {
	for _, typ := range schema.Types() {
		g, _, ok := s.vendor.MinGapOf(func(id string) bool { return s.types[id] == typ })
		want := s.intervals.Of(typ)
		if ok && (interval == 0 || g-want < gap-interval) {
			gap, interval = g, want
		}
	}
	return gap, interval
}

// early lists the polls that came too early.
func (s *scenario) early() []string {
	var early []string
	last := make(map[string]time.Time)
	for _, p := range s.vendor.Polls() {
		typ, known := s.types[p.Identifier]
		if !known {
			s.t.Errorf("poll of %s, which nobody declared", p.Identifier)
			continue
		}
		if before, ok := last[p.Identifier]; ok && p.At.Sub(before) < s.intervals.Of(typ) {
			early = append(
				early,
				fmt.Sprintf("poll %d of %s %s after %v", p.Number, typ, p.Identifier, p.At.Sub(before)),
			)
		}
		last[p.Identifier] = p.At
	}
	return early
}

// note prints a line beside the figures, and appends it to their file.
func note(t *testing.T, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	fmt.Println(line)
	path := os.Getenv(harness.EnvFigures)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	harness.Check(t, err)
	_, err = fmt.Fprintln(file, line)
	harness.Check(t, errors.Join(err, file.Close()))
}
