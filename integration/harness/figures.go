package harness

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// Figures are what a scenario shows, as one line.
type Figures struct {
	Scenario            string
	Interactions, Polls int
	// MinGap is the least time between two polls of one interaction, Guidance what it must not be below.
	MinGap, Guidance           time.Duration
	Outcomes, Duplicates, Lost int
}

// String is `scenario=... interactions=... polls=... least_gap=... guidance=... outcomes=... duplicates=... lost=...`.
func (f Figures) String() string {
	return fmt.Sprintf(
		"scenario=%s interactions=%d polls=%d least_gap=%.3fs guidance=%.3fs outcomes=%d duplicates=%d lost=%d",
		f.Scenario,
		f.Interactions,
		f.Polls,
		f.MinGap.Truncate(time.Millisecond).Seconds(),
		f.Guidance.Seconds(),
		f.Outcomes,
		f.Duplicates,
		f.Lost,
	)
}

// Print prints the line, and appends it to the file that [EnvFigures] names.
func (f Figures) Print(t testing.TB) {
	t.Helper()
	fmt.Println(f)
	path := os.Getenv(EnvFigures)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Errorf("appending to the file that %s names: %v", EnvFigures, err)
		return
	}
	_, err = fmt.Fprintln(file, f) // one write: lines of several test processes do not mix
	if err := errors.Join(err, file.Close()); err != nil {
		t.Errorf("appending to the file that %s names: %v", EnvFigures, err)
	}
}
