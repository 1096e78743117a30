package integration

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"statusworker/integration/harness"
	"statusworker/schema"
	"statusworker/statusclient/simulator"
)

// finish waits until all expected outcomes and nothing else are stored, stops the workers, and prints the figures. The
// test fails if an outcome is lost or stored twice, or if a poll came too early.
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
		ctx = harness.Context(s.t, 10*time.Second) // report what is stored after a timeout, too
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
	f.MinGap, f.Interval = s.minGap()
	f.Print(s.t)
	s.noteGaps()
	early := s.early()
	if s.mayBeEarly > 0 {
		note(s.t, "scenario=%s early=%d in_flight_at_kills=%d", s.name, len(early), s.mayBeEarly)
	}
	if len(early) > s.mayBeEarly {
		s.t.Errorf(
			"%d polls too early, want at most %d: %s",
			len(early),
			s.mayBeEarly,
			strings.Join(early[:min(len(early), 10)], "; "),
		)
	}
}

// stop sends SIGTERM to the workers that still run. They must exit with code 0.
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
			s.t.Errorf("a worker exited with code %d (%v), want 0", code, err)
		}
	}
}

// minGap returns the shortest time between two polls of one interaction, for the type that came closest to its poll
// interval.
func (s *scenario) minGap() (gap, interval time.Duration) {
	for _, typ := range schema.Types() {
		g, _, ok := s.vendor.MinGapOf(func(id string) bool { return s.types[id] == typ })
		want := s.intervals.Of(typ)
		if ok && (interval == 0 || g-want < gap-interval) {
			gap, interval = g, want
		}
	}
	return gap, interval
}

// noteGaps prints the mean and the shortest time between two polls of one interaction, by type. The mean leaves out
// interactions with faults of the vendor.
func (s *scenario) noteGaps() {
	s.t.Helper()
	for _, typ := range schema.Types() {
		of := func(id string) bool { return s.types[id] == typ }
		mean, n := s.vendor.MeanGapOf(of)
		if n == 0 {
			continue
		}
		least, _, _ := s.vendor.MinGapOf(of)
		note(s.t, "scenario=%s type=%s mean_gap=%.3fs min_gap=%.3fs interval=%.3fs", s.name, typ, mean.Seconds(),
			least.Truncate(time.Millisecond).Seconds(), s.intervals.Of(typ).Seconds())
	}
}

// early lists the polls that came earlier than one poll interval after the previous one.
func (s *scenario) early() []string {
	var early []string
	last := make(map[string]simulator.Poll)
	polls := s.vendor.Polls()
	slices.SortStableFunc(polls, func(a, b simulator.Poll) int { return a.At.Compare(b.At) })
	for _, p := range polls {
		typ, known := s.types[p.Identifier]
		if !known {
			s.t.Errorf("poll of %s, which was not declared", p.Identifier)
			continue
		}
		if before, ok := last[p.Identifier]; ok && p.At.Sub(before.At) < s.intervals.Of(typ) {
			early = append(early, fmt.Sprintf("poll %d of %s %s at %s, %v after poll %d (%d %s)", p.Number, typ,
				p.Identifier, p.At.UTC().Format(time.RFC3339Nano), p.At.Sub(before.At), before.Number,
				before.StatusCode, before.Status))
		}
		last[p.Identifier] = p
	}
	return early
}

// note prints a line, and appends it to the file of the figures.
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
