package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is what the runs of a mutant have shown.
type result struct {
	// invariants are the broken invariants, and in how many runs. histories has, for each run that broke an invariant,
	// the number of histories up to the first one that did.
	invariants map[string]int
	histories  []int
	survivals  int
	// pkg is the package whose tests fail, for a mutant that no history can show.
	pkg string
}

func (r result) survived() bool { return r.survivals > 0 }

// broken names the broken invariants, the most frequent first.
func (r result) broken() string {
	if len(r.invariants) == 0 {
		if r.pkg != "" && !r.survived() {
			return "tests of `" + r.pkg + "`"
		}
		return "none"
	}
	names := make([]string, 0, len(r.invariants))
	for name := range r.invariants {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := r.invariants[b] - r.invariants[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return strings.Join(names, ", ")
}

// median is the median number of histories. A run without a broken invariant counts as an endless one.
func (r result) median() string {
	if r.pkg != "" {
		return "–"
	}
	n := len(r.histories) + r.survivals
	slices.Sort(r.histories)
	if n/2 >= len(r.histories) {
		return "SURVIVED"
	}
	return strconv.FormatFloat(float64(r.histories[(n-1)/2]+r.histories[n/2])/2, 'f', -1, 64)
}

// runMutant applies a mutant to the copy and runs its tests.
func runMutant(ctx context.Context, c moduleCopy, m mutant, l limits, log io.Writer) (r result, err error) {
	undo, err := c.mutate(m.edits)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	r = result{invariants: map[string]int{}, pkg: m.pkg}
	if m.pkg != "" {
		ok, err := c.passes(ctx, m.pkg)
		if ok {
			r.survivals = l.seeds
		}
		return r, err
	}
	binary := filepath.Join(c.dir, "explore.test")
	if out, err := c.command(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", binary,
		"./integration/explore").CombinedOutput(); err != nil {
		return result{}, fmt.Errorf("the copy with the edit does not compile: %w\n%s", err, out)
	}
	for n := range l.seeds {
		h, err := c.histories(ctx, binary, m.mode, uint64(n*seedsApart+1), l.histories)
		if err != nil {
			return result{}, err
		}
		fmt.Fprintf(log, "%s: %s\n", m.name, h.text)
		if h.number == 0 {
			r.survivals++
			continue
		}
		r.histories = append(r.histories, h.number)
		for _, name := range h.invariants {
			r.invariants[name]++
		}
	}
	return r, nil
}

func (c moduleCopy) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.dir
	return cmd
}

// passes reports whether the tests of a package pass.
func (c moduleCopy) passes(ctx context.Context, pkg string) (bool, error) {
	out, err := c.command(ctx, "go", "test", "-count=1", "./"+pkg).CombinedOutput()
	switch {
	case err == nil:
		return true, nil
	case bytes.Contains(out, []byte("--- FAIL: ")):
		return false, nil
	}
	return false, fmt.Errorf("running the tests of %s: %w\n%s", pkg, err, out)
}

// broke is the first history that breaks an invariant.
type broke struct {
	number     int // 1 is the first history of the run; 0 means that none breaks an invariant
	invariants []string
	text       string // for people
}

// maxRun limits the time of a run: a mutant may stop all progress.
const maxRun = 10 * time.Minute

var (
	lastHistory = regexp.MustCompile(`(?m)^history (\d+)$`)
	violations  = regexp.MustCompile(`seed \d+: broken=(\S+) .*`)
)

// histories runs histories until one breaks an invariant.
func (c moduleCopy) histories(
	ctx context.Context, binary, mode string, seed uint64, most int,
) (broke, error) {
	cmd := c.command(ctx, binary, "-test.run=^TestHistories$", "-test.timeout="+maxRun.String(), "-shrink=false",
		"-progress", "-mode="+mode, fmt.Sprintf("-seed=%d", seed), fmt.Sprintf("-histories=%d", most))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return broke{text: fmt.Sprintf("no violation from seed %d on", seed)}, nil
	}
	if ctx.Err() != nil {
		return broke{}, ctx.Err()
	}
	begun := lastHistory.FindAllSubmatch(out, -1)
	if len(begun) == 0 {
		return broke{}, fmt.Errorf("running histories from seed %d: %w\n%s", seed, err, out)
	}
	last, _ := strconv.ParseUint(string(begun[len(begun)-1][1]), 10, 64) // digits
	b := broke{number: int(last-seed) + 1}
	switch found := violations.FindSubmatch(out); {
	case found != nil:
		b.invariants, b.text = strings.Split(string(found[1]), ","), string(found[0])
	case bytes.Contains(out, []byte("deadlock: ")): // a goroutine is left in the bubble
		b.invariants, b.text = []string{"I9"}, fmt.Sprintf("seed %d: a goroutine is left", last)
	case bytes.Contains(out, []byte("panic: test timed out")):
		b.invariants, b.text = []string{"hang"}, fmt.Sprintf("seed %d: does not end", last)
	default:
		return broke{}, fmt.Errorf("history %d ended without a violation: %w\n%s", last, err, out)
	}
	return b, nil
}
