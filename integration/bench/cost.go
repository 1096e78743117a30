package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// cost is what one run measured, a poll.
type cost struct {
	cpu, broker  float64 // microseconds
	rate         float64 // polls a second
	allocs, size float64
	requests     float64 // messages that the broker received
}

// errIdle is a run in which nothing was polled: it happens to the bare loop, whose pull the broker then does not
// answer.
var errIdle = errors.New("the vendor was not asked once")

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
		of := func(value func(cost) float64) float64 {
			values := make([]float64, len(cs))
			for i, c := range cs {
				values[i] = value(c)
			}
			return median(values)
		}
		ratio := ""
		if v.role != "bare" {
			middle, least, most := ratios(cs, costs[v.bare()])
			ratio = fmt.Sprintf("**%.2f** (%.2f to %.2f)", middle, least, most)
		}
		fmt.Fprintf(stdout, "| %s | %.1f | %.0f | %.0f | %.0f | %.1f | %.2f | %s |\n", v,
			of(func(c cost) float64 { return c.cpu }), of(func(c cost) float64 { return c.rate }),
			of(func(c cost) float64 { return c.allocs }), of(func(c cost) float64 { return c.size }),
			of(func(c cost) float64 { return c.broker }), of(func(c cost) float64 { return c.requests }), ratio)
	}
	fmt.Fprintln(stdout)
	for _, v := range variants {
		if v.role == "unmeasured" {
			middle, least, most := ratios(costs[variant{"stage", v.mode, v.first}], costs[v])
			fmt.Fprintf(
				stdout,
				"Metrics, %s: the stage takes %.2f (%.2f to %.2f) times the CPU of the stage without them.\n",
				v.mode,
				middle,
				least,
				most,
			)
		}
	}
}

// ratios compares the CPU of each run with that of its pair.
func ratios(of, to []cost) (middle, least, most float64) {
	var all []float64
	for i := range min(len(of), len(to)) {
		all = append(all, of[i].cpu/to[i].cpu)
	}
	return median(all), slices.Min(all), slices.Max(all)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
