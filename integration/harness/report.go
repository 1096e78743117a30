package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report compares the outcomes of a set of interactions with those expected.
type Report struct {
	// Outcomes is the number of outcomes of the expected interactions.
	Outcomes int
	// Duplicates lists outcomes that are stored more often than expected, Lost those that are missing, and Unexpected
	// those of a kind or an interaction that was not expected.
	Duplicates, Lost, Unexpected []string
}

// Err returns nil if the outcomes are exactly those expected.
func (r Report) Err() error {
	var errs []error
	for _, list := range []struct {
		what  string
		which []string
	}{{"duplicates", r.Duplicates}, {"lost", r.Lost}, {"unexpected", r.Unexpected}} {
		if n := len(list.which); n > 0 {
			errs = append(errs, fmt.Errorf("%s: %d: %s", list.what, n, strings.Join(list.which[:min(n, 10)], ", ")))
		}
	}
	return errors.Join(errs...)
}

// Report reads the outcome stream to its current end and compares it with want. Call [AwaitDrained] first to be sure
// that no outcome comes later.
func (o *Oracle) Report(ctx context.Context, want Expected) (Report, error) {
	if err := o.catchUp(ctx); err != nil {
		return Report{}, err
	}
	got := make(map[string]map[string]int)
	for _, outcome := range o.Outcomes() {
		if got[outcome.Identifier] == nil {
			got[outcome.Identifier] = make(map[string]int)
		}
		got[outcome.Identifier][outcome.Kind]++
	}
	var r Report
	for _, identifier := range slices.Sorted(maps.Keys(want)) {
		expected := make(map[string]int)
		for _, kind := range want[identifier] {
			expected[kind]++
		}
		for _, kind := range slices.Sorted(maps.Keys(expected)) {
			n := got[identifier][kind]
			for range expected[kind] - n {
				r.Lost = append(r.Lost, kind+" of "+identifier)
			}
			for range n - expected[kind] {
				r.Duplicates = append(r.Duplicates, kind+" of "+identifier)
			}
		}
		for _, n := range got[identifier] {
			r.Outcomes += n
		}
	}
	for _, identifier := range slices.Sorted(maps.Keys(got)) {
		for _, kind := range slices.Sorted(maps.Keys(got[identifier])) {
			if !slices.Contains(want[identifier], kind) {
				r.Unexpected = append(
					r.Unexpected,
					fmt.Sprintf("%s of %s (%d)", kind, identifier, got[identifier][kind]),
				)
			}
		}
	}
	return r, nil
}

// catchUp waits until all outcomes stored at the time of the call have been read.
func (o *Oracle) catchUp(ctx context.Context) error {
	var last uint64
	err := Eventually(ctx, "the state of "+ns.StreamOutcomes(), func(ctx context.Context) error {
		return try(ctx, 2*time.Second, func(ctx context.Context) error {
			stream, err := o.js.Stream(ctx, ns.StreamOutcomes())
			if err != nil {
				return err
			}
			if state := stream.CachedInfo().State; state.Msgs > 0 {
				last = state.LastSeq
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for {
		o.mu.Lock()
		var read uint64
		if n := len(o.outcomes); n > 0 {
			read = o.outcomes[n-1].Sequence
		}
		changed := o.changed
		o.mu.Unlock()
		if read >= last {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf(
				"reading %s up to sequence %d, now at %d: %w",
				ns.StreamOutcomes(),
				last,
				read,
				context.Cause(ctx),
			)
		}
	}
}
