package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"

	"statusworker/consumer"
)

// measureMemory runs the worker with few and with many interactions in flight at the same rate of polls, and prints its
// memory.
func measureMemory(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	var found []footprint
	for _, n := range []int{s.few, s.many} {
		f, err := runWaiting(ctx, s, n, stderr)
		if err != nil {
			return fmt.Errorf("measuring the memory with %d interactions in flight: %w", n, err)
		}
		found = append(found, f)
	}
	fmt.Fprintf(
		stdout,
		"\nMemory: one worker has taken in all interactions and polls them; medians of %d samples in %s.\n\n",
		memorySamples,
		s.measured,
	)
	fmt.Fprintln(
		stdout,
		"| in flight | interval | polls/s | Go heap in use after a collection, MB | resident (RSS), MB |",
	)
	fmt.Fprintln(stdout, "|--:|--:|--:|--:|--:|")
	for _, f := range found {
		fmt.Fprintf(stdout, "| %d | %s | %.0f | %.1f | %.1f |\n", f.inFlight, f.interval, f.rate, f.heap, f.resident)
	}
	few, many := found[0], found[1]
	fmt.Fprintf(
		stdout,
		"| **ratio** %.0f | | %.2f | **%.2f** | **%.2f** |\n",
		float64(many.inFlight)/float64(few.inFlight),
		many.rate/few.rate,
		many.heap/few.heap,
		many.resident/few.resident,
	)
	return nil
}

// footprint is the measurement of one run.
type footprint struct {
	inFlight       uint64
	interval       time.Duration
	rate           float64
	heap, resident float64 // MB
}

const memorySamples = 20

// memoryInterval returns the poll interval at which n interactions need rate polls per second. In addition to the
// interval, each waits for the allowance and the guard of its reservation, and for most of the period in which
// schedules fire.
func memoryInterval(n, rate int) time.Duration {
	const late, slack = 190 * time.Millisecond, 110 * time.Millisecond
	wait := time.Duration(n) * time.Second / time.Duration(rate)
	return max(50*time.Millisecond, (wait - late - slack).Round(time.Millisecond))
}

// runWaiting declares n interactions, spread over one poll interval so that they fall due evenly, and measures the
// worker after the first polls.
func runWaiting(ctx context.Context, s settings, n int, stderr io.Writer) (f footprint, err error) {
	o := order{mode: consumer.Schedule, interval: memoryInterval(n, s.rate), concurrency: s.concurrency}
	r, err := newRig(ctx, o.mode, o.intervals(), 1, stderr)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	worker, err := r.poller("stage", o, stderr)
	if err != nil {
		return f, err
	}
	fmt.Fprintf(stderr, "declaring %d interactions, interval %s\n", n, o.interval)
	spread := time.Duration(n) * time.Second / time.Duration(s.rate)
	if err := r.broker.fill(ctx, n, spread, func(int) *nats.Msg { return declared() }); err != nil {
		return f, err
	}
	// The first polls have a jitter.
	if err := pause(ctx, s.warmUp+time.Second+spread/20); err != nil {
		return f, err
	}
	begin, err := r.read(worker)
	if err != nil {
		return f, err
	}
	var heaps, residents []float64
	for range memorySamples {
		if err := pause(ctx, s.measured/memorySamples); err != nil {
			return f, err
		}
		// The resident size first, before the collection changes it.
		u, err := worker.ask("use")
		if err != nil {
			return f, err
		}
		residents = append(residents, float64(u.ResidentSize)/1e6)
		if u, err = worker.ask("collect"); err != nil {
			return f, err
		}
		heaps = append(heaps, float64(u.HeapInUse)/1e6)
	}
	end, err := r.read(worker)
	if err != nil {
		return f, err
	}
	f = footprint{interval: o.interval, heap: median(heaps), resident: median(residents)}
	c, err := costOf(begin, end)
	if err != nil {
		return f, err
	}
	f.rate = c.rate
	if f.inFlight, err = r.broker.inFlight(ctx); err != nil {
		return f, err
	}
	if want := uint64(n); f.inFlight < want*99/100 || f.inFlight > want*101/100 {
		return f, fmt.Errorf("%d interactions in flight, want %d: the worker was too slow", f.inFlight, n)
	}
	return f, nil
}
