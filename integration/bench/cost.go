package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// cost is the cost of a poll in one run.
type cost struct {
	cpu, broker  float64 // microseconds
	rate         float64 // polls per second
	allocs, size float64 // number and bytes of allocations
	requests     float64 // messages that the broker received
	resident     float64 // MB of all servers at the end
}

func (c cost) polls() float64     { return c.rate }
func (c cost) pollerCPU() float64 { return c.cpu }
func (c cost) brokerCPU() float64 { return c.broker }

// errIdle is the error of a run without a poll. It happens to the bare loop when the broker does not answer its pull.
var errIdle = errors.New("the vendor received no request")

// costOf computes the cost of a poll from two readings.
func costOf(begin, end reading) (cost, error) {
	polls := float64(end.vendor.Polls - begin.vendor.Polls)
	if polls == 0 {
		return cost{}, errIdle
	}
	return cost{
		cpu:    float64((end.poller.CPU - begin.poller.CPU).Microseconds()) / polls,
		broker: float64((end.broker.CPU - begin.broker.CPU).Microseconds()) / polls,
		rate:   polls / end.vendor.At.Sub(begin.vendor.At).Seconds(),
		allocs: float64(end.poller.Mallocs-begin.poller.Mallocs) / polls,
		size:   float64(end.poller.Bytes-begin.poller.Bytes) / polls,

		requests: float64(end.broker.Received-begin.broker.Received) / polls,
		resident: float64(end.broker.ResidentSize) / 1e6,
	}, nil
}

func printCosts(stdout io.Writer, variants []variant, costs map[variant][]cost) {
	fmt.Fprintln(
		stdout,
		"| poller | CPU us/poll | polls/s | allocs/poll | bytes/poll | broker us/poll | broker requests/poll "+
			"| CPU, stage / bare: median (min to max) |",
	)
	fmt.Fprintln(stdout, "|---|--:|--:|--:|--:|--:|--:|--:|")
	for _, v := range variants {
		cs := costs[v]
		of := func(value func(cost) float64) float64 { return medianOf(cs, value) }
		ratio := ""
		if v.role != "bare" {
			mid, lowest, highest := ratios(cs, costs[v.bare()], cost.pollerCPU)
			ratio = fmt.Sprintf("**%.2f** (%.2f to %.2f)", mid, lowest, highest)
		}
		fmt.Fprintf(stdout, "| %s | %.1f | %.0f | %.0f | %.0f | %.1f | %.2f | %s |\n", v,
			of(cost.pollerCPU), of(cost.polls),
			of(func(c cost) float64 { return c.allocs }), of(func(c cost) float64 { return c.size }),
			of(cost.brokerCPU), of(func(c cost) float64 { return c.requests }), ratio)
	}
	fmt.Fprintln(stdout)
	for _, v := range variants {
		if v.role == "unmeasured" {
			mid, lowest, highest := ratios(costs[variant{"stage", v.mode, v.first}], costs[v], cost.pollerCPU)
			fmt.Fprintf(
				stdout,
				"Metrics, %s: the stage takes %.2f (%.2f to %.2f) times the CPU of the stage without them.\n",
				v.mode,
				mid,
				lowest,
				highest,
			)
		}
	}
}

// ratios returns the median, minimum and maximum of a value of each of the runs, divided by that of its pair in base.
func ratios(runs, base []cost, value func(cost) float64) (mid, lowest, highest float64) {
	var all []float64
	for i := range min(len(runs), len(base)) {
		all = append(all, value(runs[i])/value(base[i]))
	}
	return median(all), slices.Min(all), slices.Max(all)
}

func medianOf(cs []cost, value func(cost) float64) float64 {
	values := make([]float64, len(cs))
	for i, c := range cs {
		values[i] = value(c)
	}
	return median(values)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// durations are measured durations. They are safe for concurrent use.
type durations struct {
	mu  sync.Mutex
	all []time.Duration
}

const maxDurations = 1 << 17

func (d *durations) add(one time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) < maxDurations {
		d.all = append(d.all, one)
	}
}

// since returns the median and the 99th percentile since its last call.
func (d *durations) since() (p50, p99 time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return 0, 0
	}
	slices.Sort(d.all)
	p50, p99 = d.all[len(d.all)/2], d.all[len(d.all)*99/100]
	d.all = d.all[:0]
	return p50, p99
}
