package harness

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// Figures are the results of a scenario.
type Figures struct {
	Scenario            string
	Interactions, Polls int
	// MinGap is the shortest time between two polls of one interaction. Interval is the poll interval, its lower bound.
	MinGap, Interval           time.Duration
	Outcomes, Duplicates, Lost int
}

// String returns one line:
//
//	scenario=... interactions=... polls=... min_gap=... interval=... outcomes=... duplicates=... lost=...
func (f Figures) String() string {
	return fmt.Sprintf(
		"scenario=%s interactions=%d polls=%d min_gap=%.3fs interval=%.3fs outcomes=%d duplicates=%d lost=%d",
		f.Scenario,
		f.Interactions,
		f.Polls,
		f.MinGap.Truncate(time.Millisecond).Seconds(),
		f.Interval.Seconds(),
		f.Outcomes,
		f.Duplicates,
		f.Lost,
	)
}

// Print prints the line of [Figures.String], and appends it to the file in [EnvFigures].
func (f Figures) Print(t testing.TB) {
	t.Helper()
	fmt.Println(f)
	path := os.Getenv(EnvFigures)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Errorf("appending to the file in %s: %v", EnvFigures, err)
		return
	}
	_, err = fmt.Fprintln(file, f) // one write, so that lines of several processes do not mix
	if err := errors.Join(err, file.Close()); err != nil {
		t.Errorf("appending to the file in %s: %v", EnvFigures, err)
	}
}
